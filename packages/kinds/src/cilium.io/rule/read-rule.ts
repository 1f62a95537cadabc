import { policyModes, readContext, type ReadContext } from "../../policy/read-context.ts";
import { inNamespace, parseSelectorKey, toRequirements } from "../../policy/requirements.ts";
import type { Policy, PolicyDirection, PolicyRule, PolicyStatement, PolicySubject } from "@bpfleet/features";
import { parseBandwidth } from "../../policy/bandwidth.ts";
import type { KubeObject, Parsed } from "../../kind.ts";
import { egressPeerFields, ingressPeerFields, type AnyRule, type PeerField } from "./peer-fields.ts";
import { nodeRequirements, readPeers } from "./read-peers.ts";
import { readPorts } from "./read-ports.ts";
import type { CiliumRule } from "./rule-schema.ts";
import { unservedOf } from "./unserved.ts";

export interface CiliumPolicyObject extends KubeObject {
  readonly spec?: CiliumRule;
  readonly specs?: readonly CiliumRule[];
}

/** A CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy that was found sound, in the form of all policies. */
export function readCiliumPolicy(parsed: Parsed<CiliumPolicyObject>): Policy {
  const { spec, specs = [] } = parsed.object;
  const context = readContext(parsed);
  return {
    ref: parsed.ref,
    ...policyModes(parsed),
    statements: [
      ...(spec === undefined ? [] : [readStatement(spec, "/spec", context)]),
      ...specs.map((rule, index) => readStatement(rule, `/specs/${index}`, context)),
    ],
  };
}

function readStatement(rule: CiliumRule, path: string, context: ReadContext): PolicyStatement {
  return {
    origin: context.originOf(path),
    subject: readSubject(rule, path, context),
    ingress: readDirection(rule, "ingress", path, context),
    egress: readDirection(rule, "egress", path, context),
    options: rule.options ?? {},
  };
}

/** Pods of the policy's own namespace, whatever namespace the selector names. */
function readSubject(
  { endpointSelector = {}, nodeSelector }: CiliumRule,
  path: string,
  context: ReadContext,
): PolicySubject {
  if (nodeSelector !== undefined)
    return {
      selects: "nodes",
      where: nodeRequirements(nodeSelector),
      origin: context.originOf(`${path}/nodeSelector`),
    };
  const { namespace } = context;
  const asked = toRequirements(endpointSelector, parseSelectorKey);
  const where =
    namespace === undefined ? asked : [inNamespace(namespace), ...asked.filter(({ on }) => on !== "namespace-name")];
  return { selects: "pods", where, origin: context.originOf(`${path}/endpointSelector`) };
}

/** All rules of one direction; of a rule that was found sound. */
export function readDirection(
  rule: CiliumRule,
  side: "ingress" | "egress",
  path: string,
  context: ReadContext,
): PolicyDirection {
  const { value } = rule.log ?? {};
  const log = value === undefined || value === "" ? {} : { log: { value } };
  const read = (field: "ingress" | "ingressDeny" | "egress" | "egressDeny"): readonly PolicyRule[] =>
    (rule[field] ?? []).map((item, index) => ({
      ...readItem(item, `${path}/${field}/${index}`, side, field !== side, context),
      ...log,
    }));
  const [allow, deny] =
    side === "ingress" ? [read("ingress"), read("ingressDeny")] : [read("egress"), read("egressDeny")];
  return { isDefaultDeny: rule.enableDefaultDeny?.[side] ?? allow.length + deny.length > 0, allow, deny };
}

function readItem(
  item: AnyRule,
  at: string,
  side: "ingress" | "egress",
  isDeny: boolean,
  context: ReadContext,
): PolicyRule {
  const fields: readonly PeerField[] = side === "ingress" ? ingressPeerFields : egressPeerFields;
  const unknown = context.unknownIn(at);
  const unserved = [
    ...unknown,
    ...unservedOf(item, at).map(({ path, what }) => ({ origin: context.originOf(path), what })),
  ];
  const isWidest = isDeny && unknown.length > 0;
  const ports = isWidest ? "any" : readPorts(item, at, context);
  const peers = isWidest ? "any" : readPeers(item, fields, at, ports !== "any", context);
  return {
    origin: context.originOf(at),
    description: item.description,
    peers: unserved.length === 0 ? peers : isDeny ? widen(item, peers) : [],
    ports,
    bandwidth: readBandwidth(item),
    unserved,
    ...(unserved.length > 0 && !isDeny && { meant: { peers, ports } }),
  };
}

/** Groups cannot be resolved: rather everybody is denied than one of them let through. */
function widen(item: AnyRule, peers: PolicyRule["peers"]): PolicyRule["peers"] {
  const sets = [...(item.fromCIDRSet ?? []), ...(item.toCIDRSet ?? [])];
  const hasGroups = (item.fromGroups ?? item.toGroups ?? []).length > 0 || sets.some(({ cidr }) => cidr === undefined);
  return hasGroups ? "any" : peers;
}

function readBandwidth({ toBandwidth, fromBandwidth }: AnyRule): PolicyRule["bandwidth"] {
  const limits = [toBandwidth, fromBandwidth].flatMap((limit) => {
    const bitsPerSecond = limit?.bitsPerSecond ?? parseBandwidth(limit?.rate ?? "");
    return bitsPerSecond === undefined ? [] : [{ bitsPerSecond, burstBytes: limit?.burstSize }];
  });
  return limits.toSorted((a, b) => a.bitsPerSecond - b.bitsPerSecond)[0];
}
