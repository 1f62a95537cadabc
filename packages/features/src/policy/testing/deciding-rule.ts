import type { RuleRef } from "@bpfleet/kernel";
import type { PolicyRule } from "../policy.ts";
import { placeOf } from "./read-objects.ts";
import type { Judgement } from "./reference.ts";

/** Of one packet. */
export interface Verdicts {
  readonly found: string;
  readonly expected: string;
}

/**
 * Beside what the documents say: the verdict, and the rule that is named as what decided. Of several that were met it
 * may be any; none is named where nothing is met and that denies. `places`: of the rules that were written.
 */
export function compareDecision(
  decided: "pass" | "drop",
  { verdict, because }: Judgement,
  named: RuleRef | undefined,
  places: ReadonlyMap<PolicyRule, string>,
): Verdicts {
  const same = { found: decided === "pass" ? "allow" : "deny", expected: verdict };
  if (same.found !== verdict) return same;
  if (because.by !== "rule" && because.by !== "default-deny") return same;
  const met = because.by === "rule" ? because.among.map((rule) => places.get(rule) ?? "a rule that nobody wrote") : [];
  const found = named && placeOf(named.origin);
  if (met.length === 0 ? found === undefined : met.some((each) => found === each || found?.startsWith(`${each}/`)))
    return same;
  const tell = (texts: readonly string[]): string => `${verdict} by ${texts.join(" or ") || "no rule"}`;
  return { found: tell(found === undefined ? [] : [found]), expected: tell(met) };
}
