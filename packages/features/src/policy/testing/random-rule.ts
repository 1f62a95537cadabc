import type { ObjectRef, Origin } from "@bpfleet/base";
import type { NamePattern, PolicyRule, PortMatch, PortProtocol } from "../policy.ts";
import type { Chance } from "./random.ts";
import { randomName, randomPeers } from "./random-peers.ts";
import { words } from "./words.ts";
import type { World } from "./world.ts";

/** Where a rule is written. */
export interface Writer {
  readonly world: World;
  /** Of the object: its kind says what can be written. */
  readonly ref: ObjectRef;
  readonly side: "ingress" | "egress";
  readonly list: "allow" | "deny";
}

export function randomRule(chance: Chance, writer: Writer, origin: Origin): PolicyRule {
  // What denies is narrow: else little is left for what allows.
  const anyPercent = writer.list === "deny" ? 10 : 20;
  const peers = randomPeers(chance, writer, origin, anyPercent);
  const ports = writer.ref.kind !== "PodConfigMapConfig" && chance.is(anyPercent + 15) ? "any" : undefined;
  return {
    origin,
    description: undefined,
    peers,
    ports: ports ?? randomPorts(chance, writer, origin),
    bandwidth: undefined,
    unserved: [],
  };
}

function randomPorts(chance: Chance, { ref, side, list }: Writer, origin: Origin): readonly PortMatch[] {
  switch (ref.kind) {
    case "PodConfigMapConfig":
      return ofProtocols(["TCP", "UDP"], portText(chance), origin);
    case "EBPFContainerPolicy":
      return chance.list(1, 3, () => numbered(chance, ["TCP", "UDP"], 1, origin));
    case "EBPFNetworkPolicy":
      return chance
        .list(1, 3, () => undefined)
        .flatMap(() => (chance.is(15) ? bothIcmp(origin) : [numbered(chance, ["TCP", "UDP"], 1, origin)]));
    case "NetworkPolicy":
      return chance.list(1, 3, () =>
        chance.is(30) ? named(chance, origin, 0) : numbered(chance, transports, 1, origin),
      );
    default:
      return chance.is(4) ? [] : ciliumPorts(chance, side === "egress" && list === "allow", origin);
  }
}

const transports = ["TCP", "UDP", "SCTP"] as const satisfies readonly PortProtocol[];

/** Types of ICMP have rules of their own. */
function ciliumPorts(chance: Chance, hasNames: boolean, origin: Origin): readonly PortMatch[] {
  if (chance.is(22)) return chance.list(1, 3, () => icmp(chance, origin));
  return chance
    .list(1, 3, () => undefined)
    .flatMap((): readonly PortMatch[] => {
      if (hasNames && chance.is(45)) return [dnsPort(chance, origin)];
      if (chance.is(14))
        return [{ origin, match: "ip-protocol", number: chance.of(words.otherProtocols.slice(0, -1)) }];
      if (chance.is(10)) return ofProtocols(transports, portText(chance), origin);
      return [chance.is(28) ? named(chance, origin, 20) : numbered(chance, transports, 0, origin)];
    });
}

function portText(chance: Chance): { readonly from: number; readonly to: number } {
  const from = chance.of(words.ports);
  return { from, to: from };
}

function ofProtocols(
  protocols: readonly PortProtocol[],
  range: { readonly from: number; readonly to: number },
  origin: Origin,
): readonly PortMatch[] {
  return protocols.map((protocol) => ({ origin, match: "ports", protocol, ...range, dns: undefined }));
}

/** One port, a range from `first` at least, or all. */
function numbered(chance: Chance, protocols: readonly PortProtocol[], first: number, origin: Origin): PortMatch {
  const protocol = chance.of(protocols);
  const choice = chance.below(100);
  if (choice < 45) return { origin, match: "ports", protocol, ...portText(chance), dns: undefined };
  if (choice < 55) return { origin, match: "ports", protocol, from: 0, to: 65_535, dns: undefined };
  const ends = [chance.of([first, ...words.ports]), chance.of(words.ports)];
  const [from = 1, to = 65_535] = ends.toSorted((a, b) => a - b);
  return { origin, match: "ports", protocol, from, to, dns: undefined };
}

function named(chance: Chance, origin: Origin, rangePercent: number): PortMatch {
  const [protocol, name] = [chance.of(transports), chance.of(words.portNames)];
  const to = chance.is(rangePercent) ? chance.of(words.ports) : undefined;
  return { origin, match: "named-port", protocol, name, ...(to !== undefined && { to }), dns: undefined };
}

function icmp(chance: Chance, origin: Origin): PortMatch {
  return chance.is(50)
    ? { origin, match: "icmp", family: 4, type: chance.of(words.icmpTypes) }
    : { origin, match: "icmp", family: 6, type: chance.of(words.icmpv6Types) };
}

function bothIcmp(origin: Origin): readonly PortMatch[] {
  return [1, 58].map((number) => ({ origin, match: "ip-protocol", number }));
}

function dnsPort(chance: Chance, origin: Origin): PortMatch {
  const dns: readonly NamePattern[] = chance.list(1, 3, () => randomName(chance));
  return { origin, match: "ports", protocol: chance.is(95) ? "UDP" : "TCP", from: 53, to: 53, dns };
}
