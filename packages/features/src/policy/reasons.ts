import { fault } from "../generated/shared.ts";
import { policyReason } from "./generated/policy.ts";

/** Reasons that let a packet pass. */
export const passReasons = [
  "allowed",
  "allowed_by_default",
  "established",
  "reply",
  "related",
  "kept",
  "unrestricted",
  "not_judged",
  "neighbour",
  "forwarded",
] as const satisfies readonly (keyof typeof policyReason)[];

/** Shown even while they count nothing. */
export const alwaysShown = ["allowed", "denied", "default_deny", "established"] as const;

/** What each reason says of the packet; rules are told by themselves. */
export const reasonTexts: Readonly<Record<string, string>> = {
  allowed_by_default: "no rule is about it, and nothing denies what no rule allows",
  established: "it goes on with a flow that was allowed",
  reply: "it answers a flow that was allowed",
  related: "it is an ICMP error about a flow that was allowed",
  kept: "its flow is allowed no more, and lives on as its policy says (bpfleet.io/on-revoke: keep)",
  unrestricted: "no policy is about this direction",
  not_judged: "no policy is about this pod",
  neighbour: "it finds out who has which address (ARP, or IPv6's neighbour discovery)",
  forwarded: "it is neither to nor from this node itself",
  denied: "a rule denies it",
  default_deny: "no rule allows it, and what no rule allows is denied",
  revoked: "its flow was allowed once, and is no more",
  not_ip_denied: "it carries neither IP nor ARP, and nothing else passes where policies restrict",
  fragment_without_first: "it is a fragment whose first one did not pass, so that its ports are not known",
  mapped_address: "it has an IPv4 address that is written as IPv6",
  no_table: "there is no table to judge it by",
  malformed_sctp: "its SCTP header is cut short",
  no_connection:
    "it is TCP that asks for no connection, none is on record, and the pod may not open one that it would be of",
  source_not_own: "the pod sends it with an address that it does not have",
  edited_meanwhile: "it was between two pods of this node when policies changed, and each end judged it by other ones",
  dns_name_refused: "it asks DNS for a name that no rule about the port lets it ask for (rules.dns)",
  rate_limit: "more than the rule that allows it lets pass each second",
  bandwidth_limit: "more than an EBPFContainerPolicy lets the pod receive, or send, each second (bandwidthLimits)",
  connection_limit:
    "it asks for a connection, and the pod has as many open as an EBPFContainerPolicy lets it (maxConnections)",
  connection_rate:
    "the pod begins more connections each second than an EBPFContainerPolicy lets it (maxConnectionRate)",
  no_backend: "it is for a Service that has no ready back end",
  service_is_itself: "it is for a Service behind which there is no other pod than the one that sends it",
  service_port_taken:
    "it is for a Service, and at each back end that was tried another connection of the pod has the same ports",
  service_sctp_port: "it is SCTP for a Service whose port is not that of the back end, which is not translated",
  translation_lost: "it answers what was sent to a Service, and the record of which one is lost",
};

/** Names are of all features: that of the filter lets pass what has no IP. */
const otherNames: Readonly<Record<string, string>> = { not_ip: "not_ip_denied" };

/** Number in the counters and in `explained` → name. */
export const reasonNames: ReadonlyMap<number, string> = new Map([
  ...Object.entries(policyReason)
    .filter(([name]) => name !== "fault")
    .map(([name, index]): [number, string] => [index, otherNames[name] ?? name]),
  ...Object.entries(fault)
    .filter(([name]) => name !== "none")
    .map(([name, index]): [number, string] => [policyReason.fault + index, name]),
]);
