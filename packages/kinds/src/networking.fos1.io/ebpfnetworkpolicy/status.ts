import type { Outcome, Parsed } from "../../kind.ts";
import { plainStatus } from "../../status/plain-status.ts";
import type { EBPFNetworkPolicy, EBPFNetworkPolicyStatus } from "./schema.ts";

export const networkPolicyConditions = {
  Ready: "The policy is enforced as declared; else what keeps it from that.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
  Applied: "It is enforced for all that it selects.",
};

/** What became of an EBPFNetworkPolicy on this node. */
export function networkPolicyStatus(parsed: Parsed<EBPFNetworkPolicy>, outcome: Outcome): EBPFNetworkPolicyStatus {
  return plainStatus(parsed, outcome, "Applied", {});
}
