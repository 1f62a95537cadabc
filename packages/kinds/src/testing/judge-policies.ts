import { containsPrefix } from "../policy/contains-prefix.ts";
import type { Entity, Peer, Policy, PolicyRule, PortMatch } from "@bpfleet/features";
import { meetsAll, type LabelFacts } from "../policy/requirements.ts";
import { parsePrefix } from "../address/prefix.ts";

/*
 * What policies mean, written from their documents as plainly as can be: rule by rule, with no table and no cache.
 * It says nothing of how packets are judged, and is what that is held against.
 */

/** One end of a connection: a pod, a node, or something outside. */
export interface Place {
  /** Of a pod. */
  readonly labels?: LabelFacts | undefined;
  readonly entities: readonly Entity[];
  readonly address: string;
  /** Ports of the pod's containers by name and protocol: `{ "TCP/http": 8080 }`. */
  readonly namedPorts?: Readonly<Record<string, number>> | undefined;
}

export interface Probe {
  readonly protocol: "TCP" | "UDP" | "SCTP" | "ICMP";
  /** Destination port; of ICMP the type. */
  readonly port: number;
}

/** Whether the first packet from one place to the other passes the policies at both ends. */
export function mayConnect(policies: readonly Policy[], from: Place, to: Place, probe: Probe): boolean {
  return (
    isAllowed(policies, "egress", { subject: from, peer: to, target: to }, probe) &&
    isAllowed(policies, "ingress", { subject: to, peer: from, target: to }, probe)
  );
}

export interface Sides {
  readonly subject: Place;
  readonly peer: Place;
  /** The one of them that is connected to: named ports are its. */
  readonly target: Place;
}

/** What the policies that select the subject say of one direction. */
export function isAllowed(
  policies: readonly Policy[],
  direction: "ingress" | "egress",
  { subject, peer, target }: Sides,
  probe: Probe,
): boolean {
  const labels = subject.labels;
  if (labels === undefined) return true;
  const directions = policies
    .flatMap(({ statements }) => statements)
    .filter((statement) => statement.subject.selects === "pods" && meetsAll(statement.subject.where, labels))
    .map((statement) => statement[direction]);
  const some = (list: "allow" | "deny"): boolean =>
    directions.some((each) => each[list].some((rule) => isMeant(rule, peer, target, probe)));
  if (some("deny")) return false;
  return some("allow") || !directions.some(({ isDefaultDeny }) => isDefaultDeny);
}

function isMeant({ peers, ports }: PolicyRule, peer: Place, target: Place, probe: Probe): boolean {
  const isPeer = peers === "any" || peers.some((each) => isPeerAt(each, peer));
  return isPeer && (ports === "any" || ports.some((port) => isPortOf(port, target, probe)));
}

function isPeerAt(peer: Peer, place: Place): boolean {
  switch (peer.peer) {
    case "pods":
      return place.labels !== undefined && meetsAll(peer.where, place.labels);
    case "entity":
      return place.entities.includes(peer.entity);
    case "addresses": {
      const read = parsePrefix(place.address);
      if (!read.ok) throw new RangeError(`${place.address}: ${read.because}`);
      const isWithin = (whole: typeof read.prefix): boolean => containsPrefix(whole, read.prefix);
      const isAsked = peer.matches === "everything" || place.entities.includes("world");
      return isAsked && isWithin(peer.prefix) && !peer.except.some(isWithin);
    }
    case "nodes":
    case "service":
    case "services":
    case "name":
      return false;
  }
}

function isPortOf(match: PortMatch, target: Place, { protocol, port }: Probe): boolean {
  switch (match.match) {
    case "ports":
      return match.protocol === protocol && match.from <= port && port <= match.to;
    case "named-port":
      return match.protocol === protocol && target.namedPorts?.[`${protocol}/${match.name}`] === port;
    case "icmp":
      return protocol === "ICMP" && match.family === 4 && match.type === port;
    case "ip-protocol":
      return false;
  }
}
