import type { PolicyIntent } from "../intent.ts";
import type { NamePattern, PolicyRule, PortMatch, PortProtocol } from "../policy.ts";
import type { RuleEffect } from "../table/policy-table.ts";
import { keyOf, readPeer, type PeerMeaning } from "./peers.ts";
import { keyedRanges, rangeOfPort, rangesOf, type KeyedRanges, type PortSet, type SpaceRange } from "./port-sets.ts";
import { meaningOf, renderRule, ruleId } from "./rule-text.ts";

export type Direction = "ingress" | "egress";

/** A rule as compiling needs it. */
export interface ReadRule {
  /** Whose it is; `undefined`: the node's own. */
  readonly intent: PolicyIntent | undefined;
  readonly verdict: "pass" | "drop";
  /** Index of its counter; 0: no rule. */
  readonly index: number;
  readonly keepsFlows: boolean;
  readonly effect?: RuleEffect | undefined;
  readonly logs?: boolean | undefined;
  /** Numbers of peers, any of which is meant. */
  readonly peers: "any" | readonly number[];
  /** Whose numbers are known; `undefined`: none. */
  readonly ports: "any" | PortSet | undefined;
  readonly namedPorts: readonly NamedPortMatch[];
  /** Ports of DNS, which are not among `ports`, and what may be asked for there. */
  readonly dns: readonly { readonly ports: PortSet; readonly names: number }[];
  /** Where it stands among the rules of a table: lower decides first. */
  readonly precedence: number;
}

export interface NamedPortMatch {
  readonly protocol: PortProtocol;
  readonly name: string;
  readonly to?: number | undefined;
}

/** What a rule says, before anything is numbered. */
export interface KnownRule {
  readonly text: string;
  /** Equal for rules that say the same at the same place of the same object. */
  readonly meaning: string;
  readonly id: string;
  readonly span: number;
  readonly peers: "any" | readonly KeyedPeer[];
  /** An empty list: none whose number is known. */
  readonly ports: "any" | KeyedRanges;
  readonly namedPorts: readonly NamedPortMatch[];
  readonly dns: readonly { readonly ports: KeyedRanges; readonly names: readonly NamePattern[] }[];
}

export interface KeyedPeer {
  readonly key: string;
  readonly meaning: PeerMeaning;
}

/** Where a rule stands. */
export interface RulePlace {
  /** Of the statement, with direction and list. */
  readonly name: string;
  readonly direction: Direction;
  readonly list: "allow" | "deny";
}

/** Rules are values, and come again with every edit of others. */
const knownRules = new WeakMap<PolicyRule, { readonly place: string; readonly known: KnownRule }>();

/** What cannot be enforced: a rule that allows does not mean it, one that denies means all that it could be. */
export function readRule(rule: PolicyRule, place: RulePlace): KnownRule {
  const before = knownRules.get(rule);
  if (before?.place === place.name) return before.known;
  const meaning = `${place.name} ${meaningOf(rule)}`;
  const known: KnownRule = {
    text: renderRule(rule, place.direction, place.list),
    meaning,
    id: ruleId(meaning),
    span: spanOf(rule),
    peers: readPeers(rule, place.list === "allow"),
    ...readPorts(rule, place.list === "allow"),
  };
  knownRules.set(rule, { place: place.name, known });
  return known;
}

function readPeers(rule: PolicyRule, isAllow: boolean): KnownRule["peers"] {
  if (rule.peers === "any") return "any";
  const meant: KeyedPeer[] = [];
  for (const peer of rule.peers) {
    const read = readPeer(peer);
    if (read === "everybody" || (peer.peer === "name" && !isAllow)) return "any";
    if (read !== "nobody") meant.push({ key: keyOf(read), meaning: read });
  }
  return meant;
}

function readPorts(rule: PolicyRule, isAllow: boolean): Pick<KnownRule, "ports" | "namedPorts" | "dns"> {
  if (rule.ports === "any") return { ports: "any", namedPorts: [], dns: [] };
  const ranges: SpaceRange[] = [];
  const namedPorts: NamedPortMatch[] = [];
  const dns: KnownRule["dns"][number][] = [];
  for (const match of rule.ports) {
    if (isAllow && isOfDns(match)) {
      dns.push({ ports: keyedRanges([rangeOfPort("UDP", dnsPort)]), names: match.dns });
      continue;
    }
    if (isAllow && restrictsNames(match)) continue;
    if (match.match === "named-port") namedPorts.push(match);
    else ranges.push(...rangesOf(match));
  }
  return { ports: keyedRanges(ranges), namedPorts, dns };
}

/** Where messages of DNS are looked at. */
const dnsPort = 53;

function isOfDns(match: PortMatch): match is Extract<PortMatch, { match: "ports" }> & { dns: readonly NamePattern[] } {
  if (match.match !== "ports" || match.dns === undefined) return false;
  return match.protocol === "UDP" && match.from === dnsPort && match.to === dnsPort;
}

/** Elsewhere it cannot be enforced which names may be asked for: such a port lets nothing through. */
function restrictsNames(match: PortMatch): boolean {
  return "dns" in match && match.dns !== undefined && !isOfDns(match) && !match.dns.some(isAnyName);
}

function isAnyName({ is, text }: NamePattern): boolean {
  return is === "pattern" && (text === "*" || text === "**");
}

/** Lower is more specific: fewer ports, then fewer peers, as they are written. */
function spanOf({ peers, ports }: PolicyRule): number {
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
