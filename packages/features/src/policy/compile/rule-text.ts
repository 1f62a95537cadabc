import { fingerprint } from "@bpfleet/base";
import { renderPrefix } from "../../filter/address.ts";
import type { Peer, PolicyRule, PortMatch, Requirement } from "../policy.ts";

/** How many of a list are told. */
const told = 3;

/** `allow ingress from app=b to TCP 80`; its description where it has one. */
export function renderRule(rule: PolicyRule, direction: "ingress" | "egress", verdict: "allow" | "deny"): string {
  if (rule.description !== undefined && rule.description !== "") return rule.description;
  const from = direction === "ingress" ? "from" : "to";
  const who = rule.peers === "any" ? "anybody" : some(rule.peers.map(renderPeer), "nobody");
  const what = rule.ports === "any" ? "" : ` at ${some(rule.ports.map(renderPort), "no port")}`;
  return `${verdict} ${direction} ${from} ${who}${what}`;
}

function some(texts: readonly string[], none: string): string {
  if (texts.length === 0) return none;
  const more = texts.length > told ? ` and ${texts.length - told} more` : "";
  return `${texts.slice(0, told).join(", ")}${more}`;
}

function renderPeer(peer: Peer): string {
  switch (peer.peer) {
    case "pods":
      return peer.where.length === 0 ? "all pods" : `pods ${renderWhere(peer.where)}`;
    case "nodes":
      return peer.where.length === 0 ? "all nodes" : `nodes ${renderWhere(peer.where)}`;
    case "entity":
      return peer.entity;
    case "addresses": {
      const except = some(
        peer.except.map(({ bytes, length }) => renderPrefix(bytes, length)),
        "",
      );
      return `${renderPrefix(peer.prefix.bytes, peer.prefix.length)}${except === "" ? "" : ` except ${except}`}`;
    }
    case "service":
      return `service ${peer.namespace}/${peer.name}`;
    case "services":
      return `services ${peer.where.length === 0 ? "" : `${renderWhere(peer.where)} `}in ${peer.namespace ?? "all namespaces"}`;
    case "name":
      return peer.name.text;
  }
}

function renderWhere(where: readonly Requirement[]): string {
  return where.map(renderRequirement).join(" ");
}

function renderRequirement({ on, key, operator, values }: Requirement): string {
  const names: Partial<Record<Requirement["on"], string>> = {
    "namespace-name": "namespace",
    "service-account": "service account",
    cluster: "cluster",
    "namespace-label": `namespace label ${key}`,
    reserved: `reserved:${key}`,
  };
  const name = names[on] ?? key;
  switch (operator) {
    case "In":
      return values.length === 1 ? `${name}=${values[0]}` : `${name} in (${values.join(", ")})`;
    case "NotIn":
      return `${name} not in (${values.join(", ")})`;
    case "Exists":
      return name;
    case "DoesNotExist":
      return `!${name}`;
  }
}

function renderPort(match: PortMatch): string {
  switch (match.match) {
    case "ports":
      if (match.from === 0 && match.to === 65_535) return match.protocol;
      return `${match.protocol} ${match.from === match.to ? match.from : `${match.from}-${match.to}`}`;
    case "named-port":
      return `${match.protocol} ${match.name}${match.to === undefined ? "" : ` to ${match.to}`}`;
    case "icmp":
      return `ICMPv${match.family} type ${match.type}`;
    case "ip-protocol":
      return `IP protocol ${match.number}`;
  }
}

/** 52 bits, which are made text fast; 0 and 1 mean something in the map where ids stand. */
export function ruleId(meaning: string): string {
  return String(Number.parseInt(fingerprint(meaning).slice(0, 13), 16) + 2);
}

/** Another text for another meaning. */
export function meaningOf({ peers, ports }: PolicyRule): string {
  const who = peers === "any" ? "*" : peers.map(peerMeaning).join("|");
  const what = ports === "any" ? "*" : ports.map(portMeaning).join("|");
  return `${who} ${what}`;
}

function peerMeaning(peer: Peer): string {
  return peer.peer === "addresses" ? `${peer.matches} ${renderAll(peer)}` : renderPeer(peer);
}

function renderAll({ prefix, except }: Extract<Peer, { readonly peer: "addresses" }>): string {
  return [prefix, ...except].map(({ bytes, length }) => `${bytes.join(".")}/${length}`).join("-");
}

function portMeaning(match: PortMatch): string {
  const dns = "dns" in match ? match.dns : undefined;
  return renderPort(match) + (dns === undefined ? "" : ` (${dns.map(({ text }) => text).join()})`);
}
