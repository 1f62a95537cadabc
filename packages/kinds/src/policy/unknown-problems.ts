import type { PlanProblem } from "@bpfleet/kernel";
import type { Parsed } from "../kind.ts";
import { notServed } from "../not-served.ts";
import type { ReadContext } from "./read-context.ts";

/** Of the rule at the path, where something is written in it that nobody knows. */
export function unknownProblems(
  parsed: Parsed,
  context: ReadContext,
  at: string,
  isDeny: boolean,
): readonly PlanProblem[] {
  const effect = isDeny ? "everybody is denied in place of" : "nobody is let through by";
  return context.unknownIn(at).map(({ origin, what }) => notServed(parsed, origin.path, `${effect} ${what}`));
}
