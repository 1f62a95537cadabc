import type { Condition, Outcome, Parsed } from "../kind.ts";
import { stampStatus } from "./conditions.ts";
import type { Aspect } from "./conditions.ts";
import { ObjectFate, readyAspect } from "./fate.ts";

export interface PlainStatus {
  readonly conditions: Condition[];
  readonly lastUpdated: string;
  readonly observedGeneration?: number;
}

/** Of a kind that nothing in the plan serves: whether it is accepted, and as `type` whether what it asks for holds. */
export function plainStatus<F extends object>(
  parsed: Parsed,
  outcome: Outcome,
  type: string,
  fields: F,
): F & PlainStatus {
  const fate = new ObjectFate(parsed.ref, outcome);
  const accepted = fate.accepted();
  const [first] = [...fate.problemsOf("refused"), ...fate.problemsOf("waiting")];
  const held: Aspect =
    first === undefined
      ? { type, status: "True", reason: "NothingAsked", message: "asks nothing of this node" }
      : { type, status: "False", reason: first.reason, message: first.message };
  const aspects = [accepted, held];
  return stampStatus(
    fields,
    [readyAspect(aspects, "in force"), ...aspects],
    parsed.object.metadata.generation,
    outcome,
  );
}
