import type { Peer, PolicyRule, PortMatch, Unserved } from "@bpfleet/features";

/** What the data plane cannot tell of one peer; `undefined` where it can. */
export function unservedPeer(peer: Peer): string | undefined {
  return peer.peer === "name" ? "names of DNS" : undefined;
}

/** DNS rules that let every name through are none. */
function isLimitedByNames(port: PortMatch): boolean {
  if (port.match !== "ports" && port.match !== "named-port") return false;
  return port.dns?.every(({ is, text }) => is === "name" || !/^\*\*?$/.test(text)) ?? false;
}

/**
 * The rule with no more than what is served, and what was left out. What cannot be told lets nobody through:
 * a rule that allows loses it, a rule that denies then means everybody, and everything.
 */
export function serveRule(rule: PolicyRule, isDeny: boolean): PolicyRule {
  const { peers, ports } = rule;
  const unknownPeers = peers === "any" ? [] : peers.filter((peer) => unservedPeer(peer) !== undefined);
  const unknownPorts = ports === "any" ? [] : ports.filter(isLimitedByNames);
  if (unknownPeers.length + unknownPorts.length === 0) return rule;
  const said: readonly Unserved[] = [
    ...unknownPeers.map((peer) => ({ origin: peer.origin, what: unservedPeer(peer) ?? "" })),
    ...unknownPorts.filter(isFirstOfPlace).map(({ origin }) => ({ origin, what: "DNS rules" })),
  ];
  return {
    ...rule,
    peers: peers === "any" || unknownPeers.length === 0 ? peers : isDeny ? "any" : peers.filter(isServedPeer),
    ports: ports === "any" || isDeny ? ports : ports.filter((port) => !isLimitedByNames(port)),
    unserved: [...rule.unserved, ...said],
    ...(!isDeny && { meant: rule.meant ?? { peers, ports } }),
  };
}

/** A port of any protocol is several that stand in one place. */
function isFirstOfPlace({ origin }: PortMatch, at: number, all: readonly PortMatch[]): boolean {
  return all[at - 1]?.origin.path !== origin.path;
}

function isServedPeer(peer: Peer): boolean {
  return unservedPeer(peer) === undefined;
}
