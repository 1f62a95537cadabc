import type { IssueList } from "../../schema/admit.ts";
import { describe } from "../../schema/admit.ts";
import { parsePort } from "../../policy/port-text.ts";
import { asksNoMore, namespaceKey, parseSelectorKey, toRequirements } from "../../policy/requirements.ts";
import { recordItems } from "../../schema/sound-items.ts";
import { joinPointer } from "../../yaml/places.ts";
import { checkPeers, isBlank } from "./check-peers.ts";
import { checkIcmps, checkPorts, readsNames } from "./check-ports.ts";
import { checkSelector } from "./check-selector.ts";
import { warnOfLockOut } from "./lock-out.ts";
import { egressPeerFields, ingressPeerFields, type AnyRule, type PeerField } from "./peer-fields.ts";
import type { CiliumRule } from "./rule-schema.ts";
import { unservedOf } from "./unserved.ts";

/** Code of what no rule of the CRD says: it would have to look into lists of lists. */
export const policyCode = "policy";

export interface RuleScope {
  /** Of the policy; undefined for one of the whole cluster. */
  readonly namespace: string | undefined;
  /** Rules of the object that names are learnt by. */
  readonly learning: readonly CiliumRule[];
}

const sides = [
  { allow: "ingress", deny: "ingressDeny", peerFields: ingressPeerFields },
  { allow: "egress", deny: "egressDeny", peerFields: egressPeerFields },
] as const;

/** What Cilium's agent checks of a rule after the API server, and warnings: about traps, and about what Cilium would refuse. */
export function checkRule(rule: CiliumRule, path: string, scope: RuleScope, found: IssueList): void {
  const isNode = rule.nodeSelector !== undefined;
  checkSubject(rule, path, scope, found);
  const lists = sides.flatMap(({ allow, deny }) => [rule[allow], rule[deny]]);
  if (
    lists.every((list) => !Array.isArray(list) || list.length === 0) &&
    sides.every((side) => isFine(side, path, found))
  )
    found.error(path, policyCode, "must have at least one rule in ingress, ingressDeny, egress or egressDeny");
  for (const side of sides) {
    for (const field of [side.allow, side.deny]) {
      const items = rule[field];
      if (!Array.isArray(items)) continue;
      for (const [item, at] of recordItems<AnyRule>(items, joinPointer(path, field))) {
        const isSound = found.isSound(at);
        checkItem(item, at, { ...side, field, isNode }, found);
        if (
          isSound &&
          items.length > 1 &&
          field === side.allow &&
          isBlank(item) &&
          !found.closing.some((each) => each.startsWith(`${at}/`))
        )
          found.warning(
            at,
            "empty-rule",
            "is an empty rule, which allows nobody, as with Cilium: it changes nothing here",
          );
      }
    }
  }
  if (!found.isSound(path)) return;
  warnOfExtras(rule, path, found);
  if (isNode) {
    warnOfLockOut(rule, path, found);
    warnOfNodes(rule, path, found);
  } else warnOfNames(rule, path, scope, found);
}

function isFine({ allow, deny }: (typeof sides)[number], path: string, found: IssueList): boolean {
  return found.isSound(`${path}/${allow}`) && found.isSound(`${path}/${deny}`);
}

function checkSubject(rule: CiliumRule, path: string, { namespace }: RuleScope, found: IssueList): void {
  const { endpointSelector, nodeSelector } = rule;
  if (!found.isSound(`${path}/endpointSelector`) || !found.isSound(`${path}/nodeSelector`)) return;
  if (nodeSelector !== undefined && namespace !== undefined)
    found.error(`${path}/nodeSelector`, policyCode, "is for CiliumClusterwideNetworkPolicy only");
  else if (endpointSelector !== undefined && nodeSelector !== undefined)
    found.error(path, policyCode, "must not have both endpointSelector and nodeSelector");
  if (endpointSelector === undefined && nodeSelector === undefined)
    found.error(
      path,
      policyCode,
      namespace === undefined
        ? "must have endpointSelector or nodeSelector; endpointSelector: {} is every pod"
        : "must have endpointSelector; {} is every pod of the namespace",
    );
  if (nodeSelector !== undefined) checkSelector(nodeSelector, `${path}/nodeSelector`, found);
  if (endpointSelector === undefined) return;
  checkSelector(endpointSelector, `${path}/endpointSelector`, found);
  if (namespace !== undefined) warnOfNamespace(endpointSelector, `${path}/endpointSelector`, namespace, found);
}

function warnOfNamespace(
  { matchLabels = {} }: NonNullable<CiliumRule["endpointSelector"]>,
  path: string,
  namespace: string,
  found: IssueList,
): void {
  for (const [key, value] of Object.entries(matchLabels)) {
    if (parseSelectorKey(key).on !== "namespace-name" || value === namespace) continue;
    found.warning(
      joinPointer(`${path}/matchLabels`, key),
      "no-effect",
      `names namespace ${describe(value)}; the policy is in ${namespace} and selects pods there, whatever ${namespaceKey} says`,
    );
  }
}

interface Place {
  readonly allow: "ingress" | "egress";
  readonly field: "ingress" | "ingressDeny" | "egress" | "egressDeny";
  readonly peerFields: readonly PeerField[];
  readonly isNode: boolean;
}

function checkItem(item: AnyRule, at: string, place: Place, found: IssueList): void {
  const isDeny = place.field !== place.allow;
  checkPeers(item, at, place.peerFields, isDeny, found);
  const ports = recordItems(item.toPorts, `${at}/toPorts`);
  if (Array.isArray(item.toPorts) && item.toPorts.length === 0)
    found.warning(`${at}/toPorts`, "empty-list", "is an empty list, so every port is meant; leave it out to say so");
  checkPorts(ports, { direction: place.allow, isDeny, isNode: place.isNode }, found);
  const icmps = recordItems(item.icmps, `${at}/icmps`);
  checkIcmps(icmps, found);
  if (icmps.length > 0 && ports.length > 0)
    found.error(`${at}/icmps`, policyCode, "must not stand beside toPorts; write a rule of its own for each");
  if (!found.isSound(at)) return;
  const consequence = isDeny ? "so the rule denies more than is written" : "so the rule allows nothing";
  for (const { path, what } of unservedOf(item, at))
    found.warning(path, "not-served", `${what}: not served, ${consequence}`);
}

/** Fields of the documents that Cilium does not have: its own CRD drops them. */
function warnOfExtras(rule: CiliumRule, path: string, found: IssueList): void {
  const warn = (at: string): void =>
    found.warning(at, "not-cilium", "is not a field of Cilium's; where Cilium's CRD is installed, it is dropped");
  if (rule.options !== undefined) warn(`${path}/options`);
  for (const side of sides) {
    for (const field of [side.allow, side.deny]) {
      for (const [index, item] of (rule[field] ?? []).entries()) {
        for (const extra of ["description", "toBandwidth", "fromBandwidth"] as const)
          if ((item as AnyRule)[extra] !== undefined) warn(`${path}/${field}/${index}/${extra}`);
        if (side.allow === "ingress" && item.toCIDR !== undefined) warn(`${path}/${field}/${index}/toCIDR`);
      }
    }
  }
}

/** What nodes do not have: names of ports, and DNS that anybody looks at. */
function warnOfNodes(rule: CiliumRule, path: string, found: IssueList): void {
  for (const { allow, deny } of sides) {
    for (const field of [allow, deny]) {
      const so = field === allow ? "so nothing passes by it" : "so it denies everybody";
      for (const [index, item] of (rule[field] ?? []).entries()) {
        const at = `${path}/${field}/${index}`;
        const { toFQDNs = [], toPorts = [] } = item as AnyRule;
        if (toFQDNs.length > 0)
          found.warning(`${at}/toFQDNs`, "not-served", `names are not learnt of what nodes send, ${so}`);
        for (const [place, { ports = [] }] of toPorts.entries())
          for (const [number, { port }] of ports.entries())
            if (parsePort(port).is === "name")
              found.warning(
                `${at}/toPorts/${place}/ports/${number}/port`,
                "no-effect",
                `is the name of a port, and nodes have none: nothing ${field === allow ? "passes" : "is denied"} by it`,
              );
      }
    }
  }
}

/** Names become addresses only by DNS answers that an allowed question brought. */
function warnOfNames(rule: CiliumRule, path: string, { learning }: RuleScope, found: IssueList): void {
  const rules = rule.egress ?? [];
  const first = rules.findIndex((each) => (each.toFQDNs ?? []).length > 0);
  if (first < 0 || learnsNames(rule) || learning.some((other) => selectsPodsOf(other, rule))) return;
  found.warning(
    `${path}/egress/${first}/toFQDNs`,
    "no-dns",
    "nothing is learnt of these names unless another policy has rules.dns for port 53, and where none allows port 53 DNS itself is denied",
  );
}

export function learnsNames({ egress = [] }: CiliumRule): boolean {
  return egress.some((each) => each.toPorts?.some(readsNames) === true);
}

/** All of them, as far as can be told from the selectors. */
function selectsPodsOf({ endpointSelector: whole }: CiliumRule, { endpointSelector: part }: CiliumRule): boolean {
  if (whole === undefined || part === undefined) return false;
  return asksNoMore(toRequirements(whole, parseSelectorKey), toRequirements(part, parseSelectorKey));
}
