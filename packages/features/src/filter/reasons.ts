import { fault } from "../generated/shared.ts";
import { filterReason } from "./generated/filter.ts";

/** Reasons that let a packet pass. */
export const passReasons = ["allowed", "not_ip", "reply"] as const;

/** What each fault says of the packet. */
export const faultTexts: Readonly<Record<string, string>> = {
  malformed_ethernet: "it is shorter than an Ethernet header",
  malformed_vlan: "it ends inside a VLAN tag",
  malformed_vlan_depth: "it has more than two VLAN tags",
  malformed_ipv4_truncated: "it ends inside the IPv4 header",
  malformed_ipv4_version: "its IPv4 header has another version",
  malformed_ipv4_ihl: "its IPv4 header length is below 20 bytes or beyond the packet",
  malformed_ipv4_length: "its IPv4 total length is below the header's or beyond the packet",
  malformed_ipv6_truncated: "it ends inside the IPv6 header",
  malformed_ipv6_version: "its IPv6 header has another version",
  malformed_ipv6_length: "its IPv6 payload length is beyond the packet",
  malformed_ipv6_extension: "an IPv6 extension header does not fit into the payload",
  malformed_ipv6_chain: "it has more than eight IPv6 extension headers",
  malformed_fragment:
    "it is a fragment that cannot be judged: empty, overlapping, too long, or the first without its transport header",
  malformed_tcp: "its TCP header is cut short or has a wrong length",
  malformed_udp: "its UDP header is cut short or has a wrong length",
  malformed_icmp: "its ICMP header is cut short",
};

/** Number in the counters and in `explained` → name. */
export const reasonNames: ReadonlyMap<number, string> = new Map([
  ...Object.entries(filterReason)
    .filter(([name]) => name !== "fault")
    .map(([name, index]): [number, string] => [index, name]),
  ...Object.entries(fault)
    .filter(([name]) => name !== "none")
    .map(([name, index]): [number, string] => [filterReason.fault + index, name]),
]);
