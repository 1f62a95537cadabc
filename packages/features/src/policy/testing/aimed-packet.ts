import type { Policy, PolicyDirection, PolicyRule, PortMatch } from "../policy.ts";
import type { Chance } from "./random.ts";
import { peersOf, randomPacket, randomProtocol, withQuestion } from "./random-world.ts";
import { isIpv6, words } from "./words.ts";
import { findEnd, isPeer, selects } from "./reference.ts";
import type { World, WorldPacket, WorldPod } from "./world.ts";

/** A packet that one of the rules is probably about; whether it decides is another question. */
export function aimedPacket(chance: Chance, world: World, policies: readonly Policy[]): WorldPacket {
  const statements = policies.flatMap((policy) => policy.statements);
  const statement = chance.of(statements);
  const direction = chance.is(50) ? "ingress" : "egress";
  const rule = randomRule(chance, statement[direction]);
  const pods = world.pods.filter((pod) => pod.isOnThisNode && selects(statement, pod));
  if (rule === undefined || pods.length === 0) return randomPacket(chance, world);
  const pod = chance.of(pods);
  const port = rule.ports === "any" || rule.ports.length === 0 ? undefined : chance.of(rule.ports);
  const meant = chance.is(50) ? withoutExcept(rule) : rule;
  const peers = peersOf(world, pod).filter(
    (address) => isOfFamily(address, port) && isOneOf(meant, world, address, { pod: pod.name, direction }),
  );
  if (peers.length === 0) return randomPacket(chance, world);
  const peer = chance.of(peers);
  const target = direction === "ingress" ? pod : findEnd(world, peer).pod;
  return withQuestion(chance, { pod: pod.name, direction, peer, ...aimedPort(chance, port, target, peer) });
}

function randomRule(chance: Chance, { allow, deny }: PolicyDirection): PolicyRule | undefined {
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
      return { protocol: match.number, port: 0 };
    case undefined:
      return randomProtocol(chance, isIpv6(peer));
  }
}
