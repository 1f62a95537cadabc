import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isWithinPieces,
  renderNumber,
  type PolicyDifference,
  type PolicyIntent,
  type PortSpan,
} from "@bpfleet/features";
import { judge, type World, type WorldPacket, type WorldPod } from "@bpfleet/features/testing";
import { findKind, kinds, type Parsed } from "@bpfleet/kinds";
import fc from "fast-check";
import { migrateObjects } from "./migrate-objects.ts";

const view = { find: () => undefined, list: () => [], node: { name: "", labels: {}, internalIps: [] } };

function parse(object: object): Parsed {
  const { apiVersion, kind } = object as { readonly apiVersion: string; readonly kind: string };
  const result = findKind(apiVersion, kind)?.parse(object, () => ({ file: "f", line: 1, column: 1 }));
  assert.ok(result?.ok, JSON.stringify(result?.issues));
  return result.value;
}

function oldPolicy(name: string, spec: object, namespace = "x"): Parsed {
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
const nodes = [{ name: "n", address: "172.16.0.1" }] as const;
const worldObjects: readonly Parsed[] = [
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
  ...nodes.map(({ name, address }) =>
    parse({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name },
      status: { addresses: [{ type: "InternalIP", address }] },
    }),
  ),
];
const world: World = {
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
  nodes: nodes.map(({ name, address }) => ({ name, labels: {}, addresses: [address], isThisNode: false })),
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
const specs = fc.record(
  {
    priority: fc.constantFrom(1, 1000),
    selector: fc.record({ podSelector: selectors, namespaceSelector: ofNamespaces }, { requiredKeys: [] }),
    ingress: rules("from"),
    egress: rules("to"),
  },
  { requiredKeys: ["priority"] },
);

const packets: fc.Arbitrary<WorldPacket> = fc
  .record({
    pod: fc.constantFrom(...world.pods.map(({ name }) => name)),
    direction: fc.constantFrom("ingress", "egress"),
    peer: fc.constantFrom(
      ...pods.map(({ address }) => address),
      "172.16.0.1",
      "203.0.113.7",
      "10.0.1.9",
      "10.0.0.9",
      "8.8.8.8",
      "2001:db8::9",
      "2001:db9::1",
    ),
    protocol: fc.constantFrom("TCP", "UDP", "SCTP", 47),
    port: fc.constantFrom(0, 53, 80, 85, 91, 65_535),
  })
  .map((packet) =>
    typeof packet.protocol === "number" ? { ...packet, port: 0 } : packet,
  ) as fc.Arbitrary<WorldPacket>;

/** Of packets of ICMP, by the family of the peer. */
const icmp = fc
  .tuple(packets, fc.constantFrom(0, 3, 8, 128, 200))
  .map(([packet, port]): WorldPacket => ({ ...packet, protocol: packet.peer.includes(":") ? "ICMPv6" : "ICMP", port }));

function isListed(differences: readonly PolicyDifference[], packet: WorldPacket): boolean {
  return differences.some(
    ({ direction, pods: own, peers: others, ports: spans }) =>
      direction === packet.direction &&
      own.some(({ pod }) => `${pod.namespace}/${pod.name}` === packet.pod) &&
      others.some(({ pieces }) => isWithinPieces(pieces, packet.peer)) &&
      spans.some((span) => holds(span, packet)),
  );
}

function holds({ protocol, from, to }: PortSpan, packet: WorldPacket): boolean {
  if (protocol === "IP") return typeof packet.protocol === "number" && from <= packet.protocol && packet.protocol <= to;
  return protocol === packet.protocol && from <= packet.port && packet.port <= to;
}

/** One of those that are meant. */
function packetOf({ direction, pods: [own], peers: [other], ports: [span] }: PolicyDifference): WorldPacket {
  assert.ok(own !== undefined && other?.pieces[0] !== undefined && span !== undefined);
  const { family, first } = other.pieces[0];
  const protocol = span.protocol === "IP" ? span.from : span.protocol;
  const port = span.protocol === "IP" ? 0 : span.from;
  return { pod: `${own.pod.namespace}/${own.pod.name}`, direction, peer: renderNumber(family, first), protocol, port };
}

const lower = (objects: readonly Parsed[]): readonly PolicyIntent[] =>
  objects.flatMap(
    (parsed) =>
      kinds.find(({ kind }) => kind === parsed.ref.kind)?.lower(parsed, view).intents as readonly PolicyIntent[],
  );

test("migrateObjects lists a packet if and only if its verdict is another one afterwards", () => {
  const seen = { same: 0, different: 0, equal: 0 };
  fc.assert(
    fc.property(
      fc.array(specs, { minLength: 1, maxLength: 2 }),
      fc.array(fc.oneof({ arbitrary: packets, weight: 4 }, icmp), { minLength: 40, maxLength: 40 }),
      (written, tried) => {
        const policies = written.map((spec, at) => oldPolicy(`p${at}`, spec));
        const { migrated, comparison } = migrateObjects([...worldObjects, ...policies]);
        assert.deepEqual(comparison.refused, []);
        const fallback = lower(policies).map(({ policy, priority = 0 }) => ({ policy, priority }));
        const renewed = lower(migrated.flatMap(({ object }) => (object === undefined ? [] : [parse(object)])));
        if (comparison.differences.length === 0) seen.equal += 1;
        const renewedPolicies = renewed.map(({ policy }) => policy);
        const aimed = comparison.differences.map(packetOf);
        for (const packet of [...tried, ...aimed]) {
          const before = judge([], world, packet, { fallback }).verdict;
          const after = judge(renewedPolicies, world, packet).verdict;
          assert.equal(isListed(comparison.differences, packet), before !== after, JSON.stringify(packet));
          seen[before === after ? "same" : "different"] += 1;
        }
      },
    ),
    { numRuns: 150 },
  );
  assert.ok(seen.equal > 5 && seen.different > 100 && seen.same > 2000, JSON.stringify(seen));
});

const closing = [{ action: "deny" }];
const web = { podSelector: { matchLabels: { app: "a" } } };

test("migrateObjects finds an image that means the same, where there is one", () => {
  const to80 = { ports: [{ port: 80 }, { protocol: "UDP", port: 1, endPort: 9 }] };
  const fromB = { from: [{ podSelector: { matchLabels: { app: "b" } } }, { podSelector: {}, namespaceSelector: {} }] };
  const same: readonly object[] = [
    { selector: web, ingress: [to80, ...closing] },
    { selector: web, ingress: [{ ...fromB, ...to80 }, { ...fromB, action: "deny" }, ...closing], egress: closing },
    { ingress: [{ ...fromB, action: "deny" }, to80, ...closing] },
    { egress: [{ ports: [{ port: 25 }], action: "deny" }] },
    { egress: [{ ports: [{ port: 25 }], action: "deny" }, { action: "allow" }, ...closing] },
    { ingress: [to80, { action: "allow", rateLimit: { bitsPerSecond: 8 } }, { ...fromB, action: "deny" }] },
    { selector: { namespaceSelector: { matchLabels: { env: "x" } } }, ingress: [{ from: [] }, ...closing] },
  ];
  for (const spec of same) {
    const { comparison, issues, written } = migrateObjects([oldPolicy("p", spec)]);
    assert.deepEqual([comparison.differences, comparison.isPartial], [[], false], JSON.stringify(spec));
    assert.ok(issues.every(({ severity }) => severity === "warning") && written.length === 1);
  }
});

test("migrateObjects refuses what has no image, and says where", () => {
  const refused: readonly (readonly [spec: object, path: string])[] = [
    [{ policyType: "routing" }, "/spec/policyType"],
    [{ policyType: "qos" }, "/spec/policyType"],
    [{ policyType: "nat", nat: { type: "masquerade" } }, "/spec/policyType"],
    [{ ingress: [{ action: "log" }] }, "/spec/ingress/0/action"],
    [{ egress: [{}, { action: "mark", mark: 4 }] }, "/spec/egress/1/action"],
    [
      { ingress: [{ ports: [{ port: 80 }] }, { from: [{ ipBlock: { cidr: "10.0.0.0/8" } }], action: "deny" }] },
      "/spec/ingress/1",
    ],
  ];
  for (const [spec, path] of refused) {
    const { issues, written } = migrateObjects([oldPolicy("p", spec)]);
    assert.deepEqual(written, [], JSON.stringify(spec));
    assert.deepEqual(
      issues.filter(({ severity }) => severity === "error").map((issue) => issue.path),
      [path],
    );
  }
  const taken = {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "p", namespace: "x" },
    spec: { endpointSelector: {}, ingress: [{}] },
  };
  const both = migrateObjects([parse(taken), oldPolicy("p", { ingress: closing })]);
  assert.deepEqual([both.written, both.comparison.differences], [[], []]);
  assert.match(both.issues.map(({ message }) => message).join(), /there is a CiliumNetworkPolicy of this name/);
});

test("migrateObjects tells what the order of two policies keeps from another, and what Cilium's CIDRs do not mean", () => {
  const first = oldPolicy("first", { priority: 1, ingress: [{ ports: [{ port: 80 }] }] });
  const second = oldPolicy("second", {
    priority: 2,
    ingress: [{ ports: [{ port: 80, endPort: 81 }], action: "deny" }],
  });
  const { comparison, issues } = migrateObjects([first, second]);
  const [difference, ...others] = comparison.differences;
  assert.deepEqual(others, []);
  assert.deepEqual(difference?.ports, [{ protocol: "TCP", from: 80, to: 80 }]);
  assert.deepEqual(
    [difference?.before.rule?.origin.object.name, difference?.after.rule?.origin.object.name],
    ["first", "second"],
  );
  assert.ok(issues.every(({ severity }) => severity === "warning"));

  const block = { from: [{ ipBlock: { cidr: "203.0.113.7" } }] };
  const blocked = migrateObjects([oldPolicy("p", { ingress: [block, ...closing] })]).comparison.differences;
  assert.deepEqual([...new Set(blocked.flatMap((each) => each.peers.map(({ holder }) => holder.is)))].toSorted(), [
    "node",
    "pod",
  ]);
});

test("migrateObjects makes a policy of the cluster where nodes are selected", () => {
  const spec = { selector: { nodeSelector: { matchLabels: { a: "b" } } }, ingress: [{ from: [web] }, ...closing] };
  const { migrated } = migrateObjects([oldPolicy("p", spec)]);
  assert.deepEqual(migrated[0]?.object, {
    apiVersion: "cilium.io/v2",
    kind: "CiliumClusterwideNetworkPolicy",
    metadata: { name: "x-p" },
    spec: {
      nodeSelector: { matchLabels: { a: "b" } },
      ingress: [{ fromEndpoints: [{ matchLabels: { app: "a", "k8s:io.kubernetes.pod.namespace": "x" } }] }],
      labels: [{ key: "priority", value: "1000" }],
    },
  });
});
