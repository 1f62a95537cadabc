import type { Fields } from "./fields.ts";

/**
 * How bpfd numbered the fields of its messages over time: p1 from November 2022, p2 from December, p2b (with
 * global data) from March 2023, p3 from the 18th of April, p4 from the 26th, which v0.1.1 and v0.2.0 have.
 */
export const layouts = ["p1", "p2", "p2b", "p3", "p4"] as const;
export type Layout = (typeof layouts)[number];

const tracepoint = 2;

/** The layout of a LoadRequest, by which fields are there and what they are on the wire. */
export function recognizeLayout(request: Fields): Layout | undefined {
  const has = (number: number): boolean => request.hasBytes(number);
  const hasAny = (...numbers: readonly number[]): boolean => numbers.some(has);
  const isNumber = (number: number): boolean => request.hasVarint(number);
  const attachments = [2, 3, 4].filter(has).length;
  const isPlain = ![1, 2, 3, 4, 5, 6, 7].some(isNumber) && !hasAny(5, 6, 7);
  if (has(1) && attachments === 1 && isPlain) return "p4";
  if (!has(3) && has(1) && has(2) && has(4) !== has(5)) return has(6) ? "p2b" : "p2";
  if (!has(3) || isNumber(3)) return undefined;
  if (has(5)) return has(6) ? undefined : "p3";
  if (has(6) && request.int32(4) === tracepoint) return "p3";
  if (hasAny(6, 7) && has(1)) return "p1";
  return undefined;
}
