import { parsePrefix } from "../../address/prefix.ts";
import type { Prefix } from "@bpfleet/features";
import type { Parsed } from "../../kind.ts";
import type { Peer, Policy, PolicyDirection, PolicyRule, PortMatch, Requirement } from "@bpfleet/features";
import { policyModes, readContext, type ReadContext } from "../../policy/read-context.ts";
import { inNamespace, labelsOf, toRequirements } from "../../policy/requirements.ts";
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from "./schema.ts";

/** A NetworkPolicy that was found sound, in the form of all policies. */
export function readNetworkPolicy(parsed: Parsed<NetworkPolicy>): Policy {
  const { podSelector = {}, ingress = [], egress = [], policyTypes = [] } = parsed.object.spec ?? {};
  const context = readContext(parsed);
  // An API server fills in an empty list too.
  const types = policyTypes.length > 0 ? policyTypes : ["Ingress", ...(egress.length > 0 ? ["Egress"] : [])];
  const where = [inNamespace(parsed.ref.namespace), ...toRequirements(podSelector, labelsOf("pod"))];
  return {
    ref: parsed.ref,
    ...policyModes(parsed),
    statements: [
      {
        origin: context.originOf("/spec"),
        subject: { selects: "pods", where, origin: context.originOf("/spec/podSelector") },
        ingress: direction(
          types.includes("Ingress"),
          ingress.map(({ from, ports }, index) => readRule(from, ports, `/spec/ingress/${index}`, "from", context)),
        ),
        egress: direction(
          types.includes("Egress"),
          egress.map(({ to, ports }, index) => readRule(to, ports, `/spec/egress/${index}`, "to", context)),
        ),
        options: {},
      },
    ],
  };
}

/** Rules of a direction that is not among the types mean nothing. */
function direction(isDefaultDeny: boolean, allow: readonly PolicyRule[]): PolicyDirection {
  return { isDefaultDeny, allow: isDefaultDeny ? allow : [], deny: [] };
}

/** Unlike Cilium's, an empty list is anybody and any port. */
function readRule(
  peers: readonly NetworkPolicyPeer[] = [],
  ports: readonly NetworkPolicyPort[] = [],
  at: string,
  field: "from" | "to",
  context: ReadContext,
): PolicyRule {
  const unserved = context.unknownIn(at);
  return {
    origin: context.originOf(at),
    description: undefined,
    peers:
      unserved.length > 0
        ? []
        : peers.length === 0
          ? "any"
          : peers.flatMap((peer, index) => readPeer(peer, context.originOf(`${at}/${field}/${index}`), context)),
    ports:
      ports.length === 0 ? "any" : ports.map((port, index) => readPort(port, context.originOf(`${at}/ports/${index}`))),
    bandwidth: undefined,
    unserved,
  };
}

function readPeer(
  { podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer,
  origin: Peer["origin"],
  { namespace = "default" }: ReadContext,
): readonly Peer[] {
  if (ipBlock !== undefined) {
    const prefix = prefixOf(ipBlock.cidr);
    if (prefix === undefined) return [];
    const except = (ipBlock.except ?? []).flatMap((text) => prefixOf(text) ?? []);
    return [{ origin, peer: "addresses", prefix, except, matches: "everything" }];
  }
  const where: readonly Requirement[] = [
    ...(namespaceSelector === undefined
      ? [inNamespace(namespace)]
      : toRequirements(namespaceSelector, labelsOf("namespace-label"))),
    ...toRequirements(podSelector ?? {}, labelsOf("pod")),
  ];
  return [{ origin, peer: "pods", where }];
}

function prefixOf(text: string): Prefix | undefined {
  const read = parsePrefix(text);
  return read.ok ? read.prefix : undefined;
}

function readPort({ protocol, port, endPort }: NetworkPolicyPort, origin: PortMatch["origin"]): PortMatch {
  if (typeof port === "string") return { origin, match: "named-port", protocol, name: port, dns: undefined };
  const [from, to] = port === undefined ? [0, 65535] : [port, endPort ?? port];
  return { origin, match: "ports", protocol, from, to, dns: undefined };
}
