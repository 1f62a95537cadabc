import { parsePrefix } from "../../address/prefix.ts";
import type { Entity, NamePattern, Peer, PolicyRule, Prefix, Requirement } from "@bpfleet/features";
import { entities } from "../../policy/entities.ts";
import { toName, toNamePattern } from "../../policy/names.ts";
import type { ReadContext } from "../../policy/read-context.ts";
import { inNamespace, labelsOf, parseSelectorKey, toRequirements } from "../../policy/requirements.ts";
import type { AnyRule, PeerField } from "./peer-fields.ts";
import type { CiliumName, CiliumSelector, CiliumService } from "./rule-schema.ts";

/**
 * Who is meant. Without any list of peers everybody is, but only where ports are named: an empty rule allows
 * nothing. One empty list means nobody, whatever stands in others.
 */
export function readPeers(
  item: AnyRule,
  fields: readonly PeerField[],
  at: string,
  hasPorts: boolean,
  context: ReadContext,
): PolicyRule["peers"] {
  const given = fields.filter((field) => item[field] !== undefined);
  if (given.length === 0) return hasPorts ? "any" : [];
  if (given.some((field) => (item[field] ?? []).length === 0)) return [];
  return given.flatMap((field) => readField(item, field, `${at}/${field}`, context));
}

function readField(item: AnyRule, field: PeerField, at: string, context: ReadContext): readonly Peer[] {
  const origin = (index: number): Peer["origin"] => context.originOf(`${at}/${index}`);
  switch (field) {
    case "fromEndpoints":
    case "toEndpoints":
      return (item[field] ?? []).map((selector, index) => ({
        origin: origin(index),
        ...readEndpoints(selector, context),
      }));
    case "fromNodes":
    case "toNodes":
      return (item[field] ?? []).map((selector, index) => ({
        origin: origin(index),
        peer: "nodes",
        where: nodeRequirements(selector),
      }));
    case "fromCIDR":
    case "toCIDR":
      return (item[field] ?? []).flatMap((text, index) => addresses(text, [], origin(index)));
    case "fromCIDRSet":
    case "toCIDRSet":
      return (item[field] ?? []).flatMap(({ cidr = "", except = [] }, index) => addresses(cidr, except, origin(index)));
    case "fromEntities":
    case "toEntities":
      return (item[field] ?? []).map((entity, index) => ({ origin: origin(index), peer: "entity", entity }));
    case "toServices":
      return (item.toServices ?? []).flatMap((service, index) => readService(service, origin(index), context));
    case "toFQDNs":
      return (item.toFQDNs ?? []).flatMap((name, index) =>
        readName(name).map((read) => ({ origin: origin(index), peer: "name" as const, name: read })),
      );
    case "fromGroups":
    case "toGroups":
      return [];
  }
}

/** Pods of the policy's namespace, unless the selector speaks of namespaces or of what is reserved. */
function readEndpoints(
  selector: CiliumSelector,
  { namespace }: ReadContext,
):
  | { readonly peer: "entity"; readonly entity: Entity }
  | { readonly peer: "pods"; readonly where: readonly Requirement[] } {
  const where = toRequirements(selector, parseSelectorKey);
  const [first, ...rest] = where;
  if (first?.on === "reserved" && rest.length === 0) {
    const entity = entities.find((known) => known === first.key);
    const isAsked = first.operator === "Exists" || (first.operator === "In" && first.values.includes(""));
    if (entity !== undefined && isAsked) return { peer: "entity", entity };
  }
  const namesItsOwn = where.some(({ on }) => on === "namespace-name" || on === "namespace-label" || on === "reserved");
  return { peer: "pods", where: namespace === undefined || namesItsOwn ? where : [inNamespace(namespace), ...where] };
}

export function nodeRequirements(selector: CiliumSelector): readonly Requirement[] {
  return toRequirements(selector, (key) => {
    const place = parseSelectorKey(key);
    return place.on === "pod" ? { on: "node", key: place.key } : place;
  });
}

function addresses(text: string, except: readonly string[], origin: Peer["origin"]): readonly Peer[] {
  const prefix = prefixOf(text);
  if (prefix === undefined) return [];
  return [
    { origin, peer: "addresses", prefix, except: except.flatMap((each) => prefixOf(each) ?? []), matches: "world" },
  ];
}

function prefixOf(text: string): Prefix | undefined {
  const read = parsePrefix(text);
  return read.ok ? read.prefix : undefined;
}

function readService(
  { k8sService, k8sServiceSelector }: CiliumService,
  origin: Peer["origin"],
  context: ReadContext,
): readonly Peer[] {
  if (k8sService !== undefined) {
    const { serviceName: name = "", namespace = context.namespace ?? "" } = k8sService;
    return [{ origin, peer: "service", namespace, name }];
  }
  if (k8sServiceSelector === undefined) return [];
  const { selector, namespace } = k8sServiceSelector;
  return [
    {
      origin,
      peer: "services",
      namespace: namespace === "" ? undefined : namespace,
      where: toRequirements(selector, labelsOf("service")),
    },
  ];
}

export function readName({ matchName, matchPattern }: CiliumName): readonly NamePattern[] {
  if (matchName !== undefined) return [toName(matchName)];
  return matchPattern === undefined ? [] : [toNamePattern(matchPattern)];
}
