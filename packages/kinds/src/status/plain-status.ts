import type { Condition, Outcome, Parsed } from "../kind.ts";
import { stampStatus } from "./conditions.ts";
import type { Aspect } from "./conditions.ts";
import { ObjectFate, readyAspect } from "./fate.ts";

export interface PlainStatus {
  readonly conditions: Condition[];
  readonly lastUpdated: string;
  readonly observedGeneration?: number;
}

/** Of a kind that nothing in the plan serves: whether it is accepted, and with `type` that it does not hold, and why. */
export function plainStatus<F extends object>(
  parsed: Parsed,
  outcome: Outcome,
  type: string,
  fields: F,
): F & PlainStatus {
  const fate = new ObjectFate(parsed.ref, outcome);
  const accepted = fate.accepted();
  const [first] = [...fate.problemsOf("refused"), ...fate.problemsOf("waiting"), ...fate.problemsOf("note")];
  const held: Aspect = {
    type,
    status: "False",
    reason: first?.reason ?? "InProgress",
    message: first?.message ?? "not planned yet",
  };
  const aspects = [accepted, held];
  return stampStatus(
    fields,
    [readyAspect(aspects, "in force"), ...aspects],
    parsed.object.metadata.generation,
    outcome,
  );
}
