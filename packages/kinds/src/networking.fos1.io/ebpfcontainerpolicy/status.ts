import type { Outcome, Parsed } from "../../kind.ts";
import { plainStatus } from "../../status/plain-status.ts";
import type { EBPFContainerPolicy, EBPFContainerPolicyStatus } from "./schema.ts";

export const containerPolicyConditions = {
  Ready: "The pods are limited and controlled as declared; else what keeps them from that.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
  Applied: "It is in force for every pod that it means.",
};

/** What became of an EBPFContainerPolicy on this node. */
export function containerPolicyStatus(
  parsed: Parsed<EBPFContainerPolicy>,
  outcome: Outcome,
): EBPFContainerPolicyStatus {
  return plainStatus(parsed, outcome, "Applied", {});
}
