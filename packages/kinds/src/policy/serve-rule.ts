import type { Peer, PolicyRule, PortMatch, Unserved } from "@bpfleet/features";

/** Where messages of DNS are looked at, and names can be held back. */
const dnsPort = 53;

/** Names that are limited where nobody looks at them; rules that let every name through limit none. */
function isLimitedByNames(port: PortMatch, isOfNode: boolean): boolean {
  if (port.match !== "ports" && port.match !== "named-port") return false;
  if (!isOfNode && port.match === "ports" && port.protocol === "UDP" && port.from === dnsPort && port.to === dnsPort)
    return false;
  return port.dns?.every(({ is, text }) => is === "name" || !/^\*\*?$/.test(text)) ?? false;
}

/** Beside UDP at the same place the others are left out without a word: they are there because nobody wrote a protocol. */
function isBesideUdp({ origin }: PortMatch, all: readonly PortMatch[], isOfNode: boolean): boolean {
  return all.some((port) => port.origin.path === origin.path && !isLimitedByNames(port, isOfNode));
}

/**
 * The rule with no more than what is served, and what was left out. What cannot be told lets nobody through:
 * a rule that allows loses it, a rule that denies then means everybody, and everything. Names are not learnt of what
 * is sent by nodes themselves (`isOfNode`).
 */
export function serveRule(rule: PolicyRule, isDeny: boolean, isOfNode = false): PolicyRule {
  const { peers, ports } = rule;
  const isLimited = (port: PortMatch): boolean => isLimitedByNames(port, isOfNode);
  // An answer that was not seen would be a way around a denial.
  const unknownPeers = peers === "any" || !(isDeny || isOfNode) ? [] : peers.filter(isName);
  const unknownPorts = ports === "any" ? [] : ports.filter(isLimited);
  if (unknownPeers.length + unknownPorts.length === 0) return rule;
  const said: readonly Unserved[] = [
    ...unknownPeers.map((peer) => ({ origin: peer.origin, what: "names of DNS" })),
    ...unknownPorts
      .filter(isFirstOfPlace)
      .filter((port) => ports === "any" || !isBesideUdp(port, ports, isOfNode))
      .map(({ origin }) => ({ origin, what: "DNS rules" })),
  ];
  return {
    ...rule,
    peers:
      unknownPeers.length === 0 || peers === "any" ? peers : isDeny ? "any" : peers.filter((each) => !isName(each)),
    ports: ports === "any" || isDeny ? ports : ports.filter((port) => !isLimited(port)),
    unserved: [...rule.unserved, ...said],
    ...(!isDeny && { meant: rule.meant ?? { peers, ports } }),
  };
}

/** A port of any protocol is several that stand in one place. */
function isFirstOfPlace({ origin }: PortMatch, at: number, all: readonly PortMatch[]): boolean {
  return all[at - 1]?.origin.path !== origin.path;
}

function isName({ peer }: Peer): boolean {
  return peer === "name";
}
