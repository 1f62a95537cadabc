import type { Outcome, Parsed } from "../../kind.ts";
import { plainStatus } from "../../status/plain-status.ts";
import type { EBPFTrafficControl, EBPFTrafficControlStatus } from "./schema.ts";

export const trafficControlConditions = {
  Ready: "Packets wait, are limited and marked as declared; else what keeps them from that.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
  Applied: "The kernel has the discipline, the classes and the filters.",
};

/** What became of an EBPFTrafficControl on this node. */
export function trafficControlStatus(parsed: Parsed<EBPFTrafficControl>, outcome: Outcome): EBPFTrafficControlStatus {
  return plainStatus(parsed, outcome, "Applied", {});
}
