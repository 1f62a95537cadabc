import type { Peer, PolicyRule, PolicyStatement, PortMatch } from "@bpfleet/features";
import { containsPrefix } from "../policy/contains-prefix.ts";
import { asksNoMore } from "../policy/requirements.ts";
import { renderPath } from "../yaml/places.ts";
import type { LintView } from "./lint-view.ts";
import { nameSubject } from "./names.ts";

/** Rules are held against each other. */
const most = 200;

/** Rules that allow what another one of the statement denies, however much more they say: a deny always wins. */
export function findOverruled(statement: PolicyStatement, view: LintView): readonly string[] {
  return (["ingress", "egress"] as const).flatMap((side) => {
    const { allow, deny } = statement[side];
    // Of those that deny everything another warning tells.
    const denying = deny.filter((rule) => !isEverything(rule)).slice(0, most);
    return allow.slice(0, most).flatMap((rule): readonly string[] => {
      const by = denying.find((each) => isAllOf(each, rule));
      const whom = by === undefined ? undefined : nameSubject(statement.subject, view);
      if (by === undefined || whom === undefined) return [];
      return [
        `${renderPath(rule.origin.path)}: has no effect for ${whom}: ${renderPath(by.origin.path)} denies all of it, and a deny always wins, however wide`,
      ];
    });
  });
}

export function isEverything({ peers, ports }: PolicyRule): boolean {
  return ports === "any" && (peers === "any" || peers.some((peer) => peer.peer === "entity" && peer.entity === "all"));
}

/** Whatever `part` means, `whole` means too. */
function isAllOf(whole: PolicyRule, part: PolicyRule): boolean {
  const isSaid =
    part.peers !== "any" && part.peers.length === 0 ? false : part.ports === "any" || part.ports.length > 0;
  return isSaid && hasPeers(whole, part) && hasPorts(whole, part);
}

function hasPeers({ peers: whole }: PolicyRule, { peers: part }: PolicyRule): boolean {
  if (whole === "any") return true;
  if (part === "any") return whole.some(isAnybody);
  return part.every((each) => whole.some((other) => isAnybody(other) || isPeerWithin(each, other)));
}

function isAnybody(peer: Peer): boolean {
  return peer.peer === "entity" && peer.entity === "all";
}

function isPeerWithin(part: Peer, whole: Peer): boolean {
  if (whole.peer === "entity") {
    if (part.peer === "entity") return part.entity === whole.entity;
    if (part.peer === "pods" || part.peer === "nodes") return whole.entity === "cluster";
    return (
      whole.entity === "world" && (part.peer === "name" || (part.peer === "addresses" && part.matches === "world"))
    );
  }
  if (part.peer === "addresses" && whole.peer === "addresses")
    return whole.except.length === 0 && part.matches === whole.matches && containsPrefix(whole.prefix, part.prefix);
  if (part.peer === "pods" && whole.peer === "pods") return asksNoMore(whole.where, part.where);
  return false;
}

/** On whatever port `part` means, `whole` means somebody too. */
export function hasPorts({ ports: whole }: PolicyRule, { ports: part }: PolicyRule): boolean {
  if (whole === "any") return true;
  if (part === "any") return false;
  return part.every((each) => whole.some((other) => isPortWithin(each, other)));
}

function isPortWithin(part: PortMatch, whole: PortMatch): boolean {
  if (part.match === "ports" && whole.match === "ports")
    return part.protocol === whole.protocol && whole.from <= part.from && part.to <= whole.to;
  const { origin: _, ...said } = part;
  const { origin: __, ...other } = whole;
  return JSON.stringify(said) === JSON.stringify(other);
}
