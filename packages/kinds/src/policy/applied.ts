import type { ObjectRef } from "@bpfleet/base";
import type { Outcome } from "../kind.ts";
import type { Aspect } from "../status/conditions.ts";
import { ObjectFate, readyAspect } from "../status/fate.ts";
import { enforcedAspects } from "./policy-status.ts";

/** Ready, Accepted and Applied of what is part of the node's policy; `idle` is said where it decides for no pod. */
export function appliedAspects(ref: ObjectRef, outcome: Outcome, idle: string): readonly Aspect[] {
  const fate = new ObjectFate(ref, outcome);
  const accepted = fate.accepted();
  const [waiting] = fate.problemsOf("waiting");
  const [refused] = fate.problemsOf("refused");
  const [enforced] = enforcedAspects(ref, fate, outcome);
  const because = waiting ?? (enforced === undefined ? refused : undefined);
  const nothing: Aspect = { type: "Applied", status: "True", reason: "NothingAsked", message: idle };
  const applied: Aspect =
    because === undefined
      ? { ...(enforced ?? nothing), type: "Applied" }
      : { type: "Applied", status: "False", reason: because.reason, message: because.message };
  return [readyAspect([accepted, applied], "in force"), accepted, applied];
}
