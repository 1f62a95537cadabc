import assert from "node:assert/strict";
import {
  isWithinPieces,
  renderNumber,
  type PolicyDifference,
  type PolicyIntent,
  type PortSpan,
} from "@bpfleet/features";
import type { World, WorldNode, WorldPacket, WorldPod } from "@bpfleet/features/testing";
import { findKind, kinds, type Parsed } from "@bpfleet/kinds";
import fc from "fast-check";

/* Old policies at random, and packets to try them with. */

const view = { find: () => undefined, list: () => [], node: { name: "", labels: {}, internalIps: [] } };

export function parse(object: object): Parsed {
  const { apiVersion, kind } = object as { readonly apiVersion: string; readonly kind: string };
  const result = findKind(apiVersion, kind)?.parse(object, () => ({ file: "f", line: 1, column: 1 }));
  assert.ok(result?.ok, JSON.stringify(result?.issues));
  return result.value;
}

export function oldPolicy(name: string, spec: object, namespace = "x"): Parsed {
  const metadata = { name, namespace };
  return parse({
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFNetworkPolicy",
    metadata,
    spec: { policyType: "filtering", ...spec },
  });
}

const pods = [
  { name: "a", namespace: "x", labels: { app: "a" }, address: "10.0.0.1" },
  { name: "b", namespace: "x", labels: { app: "b", tier: "1" }, address: "10.0.1.1" },
  { name: "c", namespace: "y", labels: { app: "a", tier: "2" }, address: "192.168.0.1" },
  { name: "d", namespace: "y", labels: {}, address: "2001:db8::1" },
] as const;
const namespaces = { x: { env: "x" }, y: { env: "y" } } as const;
export const nodes = [
  { name: "n", labels: { role: "edge" }, address: "172.16.0.1" },
  { name: "m", labels: { role: "edge", zone: "1" }, address: "172.16.0.2" },
  { name: "l", labels: {}, address: "10.0.2.1" },
] as const;
export const worldObjects: readonly Parsed[] = [
  ...pods.map(({ name, namespace, labels, address }) =>
    parse({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace, labels },
      spec: { containers: [] },
      status: { podIPs: [{ ip: address }] },
    }),
  ),
  ...Object.entries(namespaces).map(([name, labels]) =>
    parse({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } }),
  ),
  ...nodes.map(({ name, labels, address }) =>
    parse({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, labels },
      status: { addresses: [{ type: "InternalIP", address }] },
    }),
  ),
];
export const world: World = {
  pods: pods.map(({ name, namespace, labels, address }): WorldPod => ({
    name: `${namespace}/${name}`,
    namespace,
    labels,
    namespaceLabels: { ...namespaces[namespace], "kubernetes.io/metadata.name": namespace },
    serviceAccount: "",
    namedPorts: [],
    addresses: [address],
    isOnThisNode: true,
  })),
  nodes: nodes.map(({ name, labels, address }): WorldNode => ({
    name,
    labels,
    addresses: [address],
    isThisNode: false,
  })),
  localHost: "auto",
};

const selectors = fc.constantFrom(
  {},
  { matchLabels: { app: "a" } },
  { matchLabels: { app: "b" } },
  { matchExpressions: [{ key: "tier", operator: "Exists" }] },
  { matchExpressions: [{ key: "app", operator: "NotIn", values: ["a"] }] },
);
const ofNamespaces = fc.constantFrom(
  {},
  { matchLabels: { env: "y" } },
  { matchExpressions: [{ key: "env", operator: "NotIn", values: ["y"] }] },
);
const blocks = fc.constantFrom(
  { cidr: "10.0.0.0/8" },
  { cidr: "10.0.0.0/16", except: ["10.0.1.0/24"] },
  { cidr: "203.0.113.7/32" },
  { cidr: "0.0.0.0/0" },
  { cidr: "2001:db8::/32" },
);
const peers = fc.oneof(
  blocks.map((ipBlock) => ({ ipBlock })),
  selectors.map((podSelector) => ({ podSelector })),
  fc.record({ podSelector: selectors, namespaceSelector: ofNamespaces }),
);
const ports = fc.constantFrom(
  { protocol: "TCP", port: 80 },
  { protocol: "TCP", port: 80, endPort: 90 },
  { protocol: "UDP" },
  { protocol: "TCP" },
  { protocol: "UDP", port: 53 },
  { protocol: "ICMP" },
);
const rule = (side: "from" | "to") =>
  fc.record(
    {
      [side]: fc.array(peers, { maxLength: 2 }),
      ports: fc.array(ports, { minLength: 1, maxLength: 2 }),
      action: fc.constantFrom("allow", "deny"),
    },
    { requiredKeys: ["action"] },
  );
const rules = (side: "from" | "to") =>
  fc
    .tuple(fc.array(rule(side), { maxLength: 4 }), fc.boolean())
    .map(([some, closes]) => (closes ? [...some, { action: "deny" }] : some));
const specsOf = (selector: fc.Arbitrary<object>) =>
  fc.record(
    { priority: fc.constantFrom(1, 1000), selector, ingress: rules("from"), egress: rules("to") },
    { requiredKeys: ["priority"] },
  );
export const specs = specsOf(
  fc.record({ podSelector: selectors, namespaceSelector: ofNamespaces }, { requiredKeys: [] }),
);
/** About nodes, whatever else is left out. */
export const nodeSpecs = fc
  .tuple(
    specsOf(fc.constant({})),
    fc.constantFrom(
      {},
      { matchLabels: { role: "edge" } },
      { matchLabels: { zone: "1" } },
      { matchExpressions: [{ key: "zone", operator: "DoesNotExist" }] },
    ),
  )
  .map(([spec, nodeSelector]) => ({ ...spec, selector: { nodeSelector } }));

export const packets: fc.Arbitrary<WorldPacket> = fc
  .record({
    pod: fc.constantFrom(...world.pods.map(({ name }) => name)),
    direction: fc.constantFrom("ingress", "egress"),
    peer: fc.constantFrom(
      ...pods.map(({ address }) => address),
      ...nodes.map(({ address }) => address),
      "203.0.113.7",
      "10.0.1.9",
      "10.0.0.9",
      "8.8.8.8",
      "2001:db8::9",
      "2001:db9::1",
    ),
    protocol: fc.constantFrom("TCP", "UDP", "SCTP", 47),
    port: fc.constantFrom(0, 22, 53, 80, 85, 91, 65_535),
  })
  .map((packet) =>
    typeof packet.protocol === "number" ? { ...packet, port: 0 } : packet,
  ) as fc.Arbitrary<WorldPacket>;

/** Of packets of ICMP, by the family of the peer. */
export const icmp = fc
  .tuple(packets, fc.constantFrom(0, 3, 8, 128, 200))
  .map(([packet, port]): WorldPacket => ({ ...packet, protocol: packet.peer.includes(":") ? "ICMPv6" : "ICMP", port }));

/** `node`: whose packet it is where it is no pod's. */
export function isListed(differences: readonly PolicyDifference[], packet: WorldPacket, node?: string): boolean {
  return differences.some(
    ({ direction, pods: own, nodes: ownNodes, peers: others, ports: spans }) =>
      direction === packet.direction &&
      (node === undefined
        ? own.some(({ pod }) => `${pod.namespace}/${pod.name}` === packet.pod)
        : ownNodes.some(({ name }) => name === node)) &&
      others.some(({ pieces }) => isWithinPieces(pieces, packet.peer)) &&
      spans.some((span) => holds(span, packet)),
  );
}

function holds({ protocol, from, to }: PortSpan, packet: WorldPacket): boolean {
  if (protocol === "IP") return typeof packet.protocol === "number" && from <= packet.protocol && packet.protocol <= to;
  return protocol === packet.protocol && from <= packet.port && packet.port <= to;
}

/** One of those that are meant. */
export function packetOf({ direction, pods: [own], peers: [other], ports: [span] }: PolicyDifference): WorldPacket {
  assert.ok(other?.pieces[0] !== undefined && span !== undefined);
  const { family, first } = other.pieces[0];
  const protocol = span.protocol === "IP" ? span.from : span.protocol;
  const port = span.protocol === "IP" ? 0 : span.from;
  const pod = own === undefined ? "" : `${own.pod.namespace}/${own.pod.name}`;
  return { pod, direction, peer: renderNumber(family, first), protocol, port };
}

export const lower = (objects: readonly Parsed[]): readonly PolicyIntent[] =>
  objects.flatMap(
    (parsed) =>
      kinds.find(({ kind }) => kind === parsed.ref.kind)?.lower(parsed, view).intents as readonly PolicyIntent[],
  );
