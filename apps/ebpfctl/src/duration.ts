import { Failure } from "./failure.ts";

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `1m30s`, `2h`, `7d`, or seconds without a unit. */
export function parseDuration(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text))
    throw new Failure(`invalid duration ${JSON.stringify(text)}: give it as 500ms, 30s, 1m30s, 2h or 7d`);
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g))
    sum += Number(number) * (units[unit ?? ""] ?? 0);
  return sum;
}
