import type { Policy, PolicyDirection, PolicyRule, PortMatch } from "../policy.ts";
import type { Chance } from "./random.ts";
import { peersOf, randomPacket, randomProtocol, withQuestion } from "./random-world.ts";
import { isIpv6, words } from "./words.ts";
import { findEnd, isPeer } from "./reference-peers.ts";
import { selects } from "./reference.ts";
import type { World, WorldPacket, WorldPod } from "./world.ts";

/** A packet that one of the rules is probably about; whether it decides is another question. */
export function aimedPacket(chance: Chance, world: World, policies: readonly Policy[]): WorldPacket {
  const statements = policies.flatMap((policy) => policy.statements);
  const statement = chance.of(statements);
  const direction = chance.is(50) ? "ingress" : "egress";
  const rule = randomRule(chance, statement[direction]);
  const pods = world.pods.filter((pod) => pod.isOnThisNode && selects(statement, pod));
  if (rule === undefined || pods.length === 0) return randomPacket(chance, world);
  const own = chance.of(pods);
  const packet = aimAt(chance, world, rule, { pod: own.name, direction, peers: peersOf(world, own), own });
  return packet === undefined ? randomPacket(chance, world) : withQuestion(chance, packet);
}

/** Whose packet it is; without a pod the node's. */
interface Aim extends Pick<WorldPacket, "pod" | "direction"> {
  readonly peers: readonly string[];
  readonly own?: WorldPod | undefined;
}

/** `undefined` where nobody is meant. */
export function aimAt(
  chance: Chance,
  world: World,
  rule: PolicyRule,
  { pod, direction, peers: all, own }: Aim,
): WorldPacket | undefined {
  const port = rule.ports === "any" || rule.ports.length === 0 ? undefined : chance.of(rule.ports);
  const meant = chance.is(50) ? withoutExcept(rule) : rule;
  const peers = all.filter(
    (address) => isOfFamily(address, port) && isOneOf(meant, world, address, { pod, direction }),
  );
  if (peers.length === 0) return undefined;
  const peer = chance.of(peers);
  const target = direction === "ingress" ? own : findEnd(world, peer).pod;
  return { pod, direction, peer, ...aimedPort(chance, port, target, peer) };
}

export function randomRule(chance: Chance, { allow, deny }: PolicyDirection): PolicyRule | undefined {
  const rules = deny.length > 0 && (allow.length === 0 || chance.is(50)) ? deny : allow;
  return rules.length === 0 ? undefined : chance.of(rules);
}

/** Who is excepted is aimed at too, where somebody is. */
function withoutExcept(rule: PolicyRule): PolicyRule {
  if (rule.peers === "any") return rule;
  const peers = rule.peers.flatMap((peer) =>
    peer.peer === "addresses" ? peer.except.map((prefix) => ({ ...peer, prefix, except: [] })) : [],
  );
  return peers.length === 0 ? rule : { ...rule, peers };
}

function isOneOf(
  { peers }: PolicyRule,
  world: World,
  address: string,
  from: Pick<WorldPacket, "pod" | "direction">,
): boolean {
  const end = findEnd(world, address, from);
  return peers === "any" || peers.some((peer) => isPeer(peer, end, world));
}

function isOfFamily(address: string, port: PortMatch | undefined): boolean {
  return port?.match !== "icmp" || (port.family === 6) === isIpv6(address);
}

function aimedPort(
  chance: Chance,
  match: PortMatch | undefined,
  target: WorldPod | undefined,
  peer: string,
): Pick<WorldPacket, "protocol" | "port"> {
  switch (match?.match) {
    case "ports": {
      const within = words.ports.filter((port) => match.from <= port && port <= match.to);
      return { protocol: match.protocol, port: within.length === 0 ? match.from : chance.of(within) };
    }
    case "named-port": {
      const named = target?.namedPorts.find(({ protocol, name }) => protocol === match.protocol && name === match.name);
      return { protocol: match.protocol, port: named?.port ?? chance.of(words.ports) };
    }
    case "icmp":
      return { protocol: match.family === 4 ? "ICMP" : "ICMPv6", port: match.type };
    case "ip-protocol":
      if (match.number !== 1 && match.number !== 58) return { protocol: match.number, port: 0 };
      return isIpv6(peer)
        ? { protocol: "ICMPv6", port: chance.of(words.icmpv6Types) }
        : { protocol: "ICMP", port: chance.of(words.icmpTypes) };
    case undefined:
      return randomProtocol(chance, isIpv6(peer));
  }
}
