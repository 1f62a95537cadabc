import type { UnknownFieldMeaning } from "../schema/admit.ts";

/** Of a field of a policy: whether it is in a rule, or in what says whom the policy is about. */
export interface FieldPlace {
  /** Names of fields that hold lists of rules, below the spec or the list of specs. */
  readonly rules: readonly string[];
  /** Of fields that restrict nothing. */
  readonly harmless?: readonly string[];
}

/**
 * What is not understood may be what restricts: in a rule it makes the rule allow nobody, or deny everybody; elsewhere
 * it makes the object unfit.
 */
export function unknownFieldIn({ rules, harmless = [] }: FieldPlace): (path: string) => UnknownFieldMeaning {
  return (path) => {
    const [, top = "", ...below] = path.split("/");
    if (top !== "spec" && top !== "specs") return "left-out";
    const [field = "", , inner] = top === "specs" ? below.slice(1) : below;
    if (harmless.includes(field)) return "left-out";
    return inner !== undefined && rules.includes(field) ? "closes-rule" : "refused";
  };
}
