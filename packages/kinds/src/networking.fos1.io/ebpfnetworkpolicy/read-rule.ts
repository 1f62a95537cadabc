import type { Peer, PolicyRule, PortMatch } from "@bpfleet/features";
import type { ReadContext } from "../../policy/read-context.ts";
import { inNamespace, labelsOf, toRequirements } from "../../policy/requirements.ts";
import { readIpBlock, readPorts } from "../parts/rule-peers.ts";
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
  const { [field]: peers, ports = [], description, rateLimit, action, mark } = rule;
  const unserved = context.unknownIn(at);
  return {
    origin: context.originOf(at),
    description,
    peers:
      unserved.length > 0
        ? rule.action === "deny"
          ? "any"
          : []
        : (peers?.flatMap((peer, index) => readPeer(peer, context.originOf(`${at}/${field}/${index}`), context)) ??
          "any"),
    ports:
      ports.length === 0 || unserved.length > 0
        ? "any"
        : ports.flatMap((port, index) => readPort(port, context.originOf(`${at}/ports/${index}`))),
    bandwidth:
      rateLimit === undefined ? undefined : { bitsPerSecond: rateLimit.bitsPerSecond, burstBytes: rateLimit.burstSize },
    ...(action === "mark" && { mark }),
    ...(action === "log" && { log: {} }),
    unserved,
  };
}

function readPeer(
  { ipBlock, podSelector, namespaceSelector }: RulePeer,
  origin: Peer["origin"],
  { namespace = "default" }: ReadContext,
): readonly Peer[] {
  if (ipBlock !== undefined) return readIpBlock(ipBlock, origin);
  const inNamespaces =
    namespaceSelector === undefined
      ? [inNamespace(namespace)]
      : toRequirements(namespaceSelector, labelsOf("namespace-label"));
  return [{ origin, peer: "pods", where: [...inNamespaces, ...toRequirements(podSelector ?? {}, labelsOf("pod"))] }];
}

function readPort({ protocol, port, endPort }: RulePort, origin: PortMatch["origin"]): readonly PortMatch[] {
  if (protocol === "ICMP") return icmpProtocols.map((number) => ({ origin, match: "ip-protocol", number }));
  return [readPorts({ protocol, port, endPort }, origin)];
}
