import type { Outcome, Parsed } from "../../kind.ts";
import { plainStatus } from "../../status/plain-status.ts";
import type { EBPFNATPolicy, EBPFNATPolicyStatus } from "./schema.ts";

export const natPolicyConditions = {
  Ready: "Packets are translated as declared; else what keeps them from that.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
  Applied: "The kernel translates.",
};

/** What became of an EBPFNATPolicy on this node. */
export function natPolicyStatus(parsed: Parsed<EBPFNATPolicy>, outcome: Outcome): EBPFNATPolicyStatus {
  return plainStatus(parsed, outcome, "Applied", {});
}
