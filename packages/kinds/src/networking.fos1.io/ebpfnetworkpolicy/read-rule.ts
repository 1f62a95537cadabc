import type { Peer, PolicyRule, PortMatch, Prefix } from "@bpfleet/features";
import { parsePrefix } from "../../address/prefix.ts";
import type { ReadContext } from "../../policy/read-context.ts";
import { inNamespace, labelsOf, toRequirements } from "../../policy/requirements.ts";
import type { NetworkPolicySpec } from "./schema.ts";

type IngressRule = NonNullable<NetworkPolicySpec["ingress"]>[number];
type EgressRule = NonNullable<NetworkPolicySpec["egress"]>[number];
export type AnyRule = Omit<IngressRule, "from"> & Pick<IngressRule, "from"> & Pick<EgressRule, "to">;
type RulePeer = NonNullable<IngressRule["from"]>[number];
type RulePort = NonNullable<IngressRule["ports"]>[number];

/** ICMP and ICMPv6: a rule does not say of which family it is. */
const icmpProtocols = [1, 58];

/** Without peers everybody is meant, with an empty list nobody; without ports all traffic is. */
export function readRule(rule: AnyRule, direction: "ingress" | "egress", at: string, context: ReadContext): PolicyRule {
  const field = direction === "ingress" ? "from" : "to";
  const { [field]: peers, ports = [], description, rateLimit } = rule;
  return {
    origin: context.originOf(at),
    description,
    peers:
      peers?.flatMap((peer, index) => readPeer(peer, context.originOf(`${at}/${field}/${index}`), context)) ?? "any",
    ports:
      ports.length === 0
        ? "any"
        : ports.flatMap((port, index) => readPort(port, context.originOf(`${at}/ports/${index}`))),
    bandwidth:
      rateLimit === undefined ? undefined : { bitsPerSecond: rateLimit.bitsPerSecond, burstBytes: rateLimit.burstSize },
    unserved: [],
  };
}

/** As in a NetworkPolicy: addresses are those of whoever has them. */
function readPeer(
  { ipBlock, podSelector, namespaceSelector }: RulePeer,
  origin: Peer["origin"],
  { namespace = "default" }: ReadContext,
): readonly Peer[] {
  if (ipBlock !== undefined) {
    const prefix = prefixOf(ipBlock.cidr);
    if (prefix === undefined) return [];
    const except = (ipBlock.except ?? []).flatMap((text) => prefixOf(text) ?? []);
    return [{ origin, peer: "addresses", prefix, except, matches: "everything" }];
  }
  const inNamespaces =
    namespaceSelector === undefined
      ? [inNamespace(namespace)]
      : toRequirements(namespaceSelector, labelsOf("namespace-label"));
  return [{ origin, peer: "pods", where: [...inNamespaces, ...toRequirements(podSelector ?? {}, labelsOf("pod"))] }];
}

function prefixOf(text: string): Prefix | undefined {
  const read = parsePrefix(text);
  return read.ok ? read.prefix : undefined;
}

function readPort({ protocol, port, endPort }: RulePort, origin: PortMatch["origin"]): readonly PortMatch[] {
  if (protocol === "ICMP") return icmpProtocols.map((number) => ({ origin, match: "ip-protocol", number }));
  const [from, to] = port === undefined ? [0, 65535] : [port, endPort ?? port];
  return [{ origin, match: "ports", protocol, from, to, dns: undefined }];
}
