import type { Outcome, Parsed } from "../../kind.ts";
import { appliedAspects } from "../../policy/applied.ts";
import { stampStatus } from "../../status/conditions.ts";
import type { PodConfigMapConfig, PodConfigMapConfigStatus } from "./schema.ts";

export const podConfigConditions = {
  Ready: "Everything that is enabled is in force for the pods; else what keeps it from that.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
  Applied: "The firewall is in force for every pod that is selected.",
};

/** What became of a PodConfigMapConfig on this node. */
export function podConfigStatus(parsed: Parsed<PodConfigMapConfig>, outcome: Outcome): PodConfigMapConfigStatus {
  const aspects = appliedAspects(parsed.ref, outcome, "it asks nothing of this node");
  return stampStatus({}, aspects, parsed.object.metadata.generation, outcome);
}
