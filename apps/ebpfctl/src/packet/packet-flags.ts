import type { InterfaceFacts } from "@bpfleet/kernel";
import { Failure } from "../failure.ts";
import { parseAddress, parseMac, type Address } from "./address.ts";
import { tcpFlags, type PacketSpec, type Protocol, type TcpFlag } from "./packet.ts";

export interface PacketFlags {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly proto?: string | undefined;
  readonly sport?: string | undefined;
  readonly dport?: string | undefined;
  readonly tcpFlags?: string | undefined;
  readonly vlan: readonly string[];
  readonly length?: string | undefined;
  readonly ttl?: string | undefined;
  readonly dscp?: string | undefined;
  readonly fromMac?: string | undefined;
}

/** Documentation addresses, for the end that nobody named. */
const strangers = { 4: "192.0.2.1", 6: "2001:db8::1" } as const;

/** The packet that the flags describe; what they leave out is what a packet through this interface would have. */
export function packetOfFlags(
  flags: PacketFlags,
  direction: "ingress" | "egress",
  at: InterfaceFacts | undefined,
): PacketSpec {
  const given = { from: address("--from", flags.from), to: address("--to", flags.to) };
  const family = given.from?.family ?? given.to?.family;
  if (family === undefined)
    throw new Failure("a packet needs --from or --to, e.g. --from 10.10.10.7; or give a capture with --pcap");
  const own = ownAddress(at, family);
  const stranger = parseAddress(strangers[family]) as Address;
  const from = given.from ?? (direction === "egress" ? own : stranger) ?? stranger;
  const to = given.to ?? (direction === "ingress" ? own : stranger) ?? stranger;
  if (from.family !== to.family)
    throw new Failure(
      `--from ${flags.from} and --to ${flags.to} are of two families; give both as IPv4 or both as IPv6`,
    );
  const ownMac = parseMac(at?.mac ?? "") ?? new Uint8Array(6);
  const otherMac = flags.fromMac === undefined ? Uint8Array.of(2, 0, 0, 0, 0, 1) : mac(flags.fromMac);
  const hasPort = flags.sport !== undefined || flags.dport !== undefined;
  const protocol = parseProtocol(flags.proto ?? (hasPort ? "tcp" : "icmp"));
  return {
    sourceMac: direction === "ingress" ? otherMac : ownMac,
    destinationMac: direction === "ingress" ? ownMac : otherMac,
    vlans: flags.vlan.map((text) => number("--vlan", text, 0, 4094)),
    from,
    to,
    protocol,
    sourcePort: number("--sport", flags.sport ?? "40000", 0, 65535),
    destinationPort: number("--dport", flags.dport ?? "80", 0, 65535),
    tcpFlags: parseTcpFlags(flags.tcpFlags ?? "syn"),
    hopLimit: number("--ttl", flags.ttl ?? "64", 0, 255),
    dscp: number("--dscp", flags.dscp ?? "0", 0, 63),
    lengthBytes: flags.length === undefined ? undefined : number("--length", flags.length, 14, 65535),
  };
}

function ownAddress(at: InterfaceFacts | undefined, family: 4 | 6): Address | undefined {
  return at?.addresses
    .map((text) => parseAddress(text.replace(/\/.*$/, "")))
    .find((candidate) => candidate?.family === family);
}

function address(flag: string, text: string | undefined): Address | undefined {
  if (text === undefined) return undefined;
  const parsed = parseAddress(text);
  if (parsed === undefined)
    throw new Failure(`invalid argument ${JSON.stringify(text)} for "${flag}": give an IPv4 or IPv6 address`);
  return parsed;
}

function mac(text: string): Uint8Array {
  const parsed = parseMac(text);
  if (parsed === undefined)
    throw new Failure(`invalid argument ${JSON.stringify(text)} for "--from-mac": give it as 02:00:00:00:00:01`);
  return parsed;
}

function number(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new Failure(`invalid argument ${JSON.stringify(text)} for "${flag}": give a number from ${least} to ${most}`);
  }
  return value;
}

function parseProtocol(text: string): Protocol {
  if (text === "tcp" || text === "udp" || text === "sctp" || text === "icmp") return text;
  if (text === "icmpv6") return "icmp";
  if (/^\d+$/.test(text) && Number(text) < 256) return Number(text);
  throw new Failure(
    `invalid argument ${JSON.stringify(text)} for "--proto": give tcp, udp, sctp, icmp or a number from 0 to 255`,
  );
}

function parseTcpFlags(text: string): readonly TcpFlag[] {
  const words = text.split(",").filter((word) => word !== "");
  return words.map((word) => {
    const flag = tcpFlags.find((known) => known === word);
    if (flag === undefined)
      throw new Failure(
        `invalid argument ${JSON.stringify(text)} for "--tcp-flags": give some of ${tcpFlags.join(",")}`,
      );
    return flag;
  });
}
