import type { PolicyIntent } from "../intent.ts";
import type { NamePattern, PolicyRule, PortMatch, PortProtocol } from "../policy.ts";
import { readPeer, type PeerMeaning, type Peers } from "./peers.ts";
import { rangesOf, type PortSet, type PortSets, type SpaceRange } from "./port-sets.ts";

export type Direction = "ingress" | "egress";

/** A rule as compiling needs it. */
export interface ReadRule {
  /** Whose it is; `undefined`: the node's own. */
  readonly intent: PolicyIntent | undefined;
  readonly verdict: "pass" | "drop";
  /** Index of its counter; 0: no rule. */
  readonly index: number;
  readonly keepsFlows: boolean;
  /** Numbers of peers, any of which is meant. */
  readonly peers: "any" | readonly number[];
  /** Whose numbers are known; `undefined`: none. */
  readonly ports: "any" | PortSet | undefined;
  readonly namedPorts: readonly NamedPortMatch[];
  /** Where it stands among the rules of a table: lower decides first. */
  readonly precedence: number;
}

export interface NamedPortMatch {
  readonly protocol: PortProtocol;
  readonly name: string;
}

export type RuleReading = Pick<ReadRule, "peers" | "ports" | "namedPorts">;

/** What cannot be enforced: a rule that allows does not mean it, one that denies means all that it could be. */
export function readRule(rule: PolicyRule, isAllow: boolean, peers: Peers, portSets: PortSets): RuleReading {
  return { peers: readPeers(rule, isAllow, peers), ...readPorts(rule, isAllow, portSets) };
}

function readPeers(rule: PolicyRule, isAllow: boolean, peers: Peers): ReadRule["peers"] {
  if (rule.peers === "any") return "any";
  const meant: PeerMeaning[] = [];
  for (const peer of rule.peers) {
    const read = readPeer(peer);
    if (read === "everybody" || (peer.peer === "name" && !isAllow)) return "any";
    if (read !== "nobody") meant.push(read);
  }
  return [...new Set(meant.map((meaning) => peers.number(meaning, isAllow)))].toSorted((a, b) => a - b);
}

function readPorts(rule: PolicyRule, isAllow: boolean, portSets: PortSets): Pick<ReadRule, "ports" | "namedPorts"> {
  if (rule.ports === "any") return { ports: "any", namedPorts: [] };
  const ranges: SpaceRange[] = [];
  const namedPorts: NamedPortMatch[] = [];
  for (const match of rule.ports) {
    if (isAllow && restrictsNames(match)) continue;
    if (match.match === "named-port") namedPorts.push(match);
    else ranges.push(...rangesOf(match));
  }
  return { ports: ranges.length === 0 ? undefined : portSets.intern(ranges), namedPorts };
}

/** Which names may be asked for cannot be enforced yet: such a port lets nothing through. */
export function restrictsNames(match: PortMatch): boolean {
  return "dns" in match && match.dns !== undefined && !match.dns.some(isAnyName);
}

function isAnyName({ is, text }: NamePattern): boolean {
  return is === "pattern" && (text === "*" || text === "**");
}

/** Lower is more specific: fewer ports, then fewer peers, as they are written. */
export function spanOf({ peers, ports }: PolicyRule): number {
  const portSpan = ports === "any" ? 1 << 20 : ports.reduce((sum, match) => sum + widthOf(match), 0);
  const peerSpan = peers === "any" ? 1023 : peers.reduce((widest, peer) => Math.max(widest, peerWidth(peer)), 0);
  return Math.min(portSpan, 1 << 20) * 1024 + peerSpan;
}

function widthOf(match: PortMatch): number {
  return match.match === "ports" ? match.to - match.from + 1 : 1;
}

function peerWidth(peer: Exclude<PolicyRule["peers"], "any">[number]): number {
  switch (peer.peer) {
    case "entity":
      return peer.entity === "all" ? 1023 : peer.entity === "cluster" || peer.entity === "world" ? 1000 : 300;
    case "addresses":
      return 900 - peer.prefix.length - (peer.prefix.family === 4 ? 96 : 0);
    case "pods":
    case "nodes":
      return 600 - Math.min(peer.where.length, 20) * 10;
    default:
      return 200;
  }
}
