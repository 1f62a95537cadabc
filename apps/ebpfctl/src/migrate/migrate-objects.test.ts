import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, type WorldPacket } from "@bpfleet/features/testing";
import fc from "fast-check";
import {
  icmp,
  isListed,
  lower,
  nodes,
  nodeSpecs,
  oldPolicy,
  packetOf,
  packets,
  parse,
  specs,
  world,
  worldObjects,
} from "../testing/old-policies.ts";
import { migrateObjects } from "./migrate-objects.ts";

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

test("migrateObjects lists a packet of a node if and only if its verdict is another one afterwards", () => {
  const seen = { same: 0, different: 0, equal: 0 };
  fc.assert(
    fc.property(
      fc.array(nodeSpecs, { minLength: 1, maxLength: 2 }),
      fc.array(fc.oneof({ arbitrary: packets, weight: 4 }, icmp), { minLength: 20, maxLength: 20 }),
      (written, tried) => {
        const policies = written.map((spec, at) => oldPolicy(`p${at}`, spec));
        const { migrated, comparison } = migrateObjects([...worldObjects, ...policies]);
        assert.deepEqual(comparison.refused, []);
        assert.ok(comparison.differences.every(({ pods: own }) => own.length === 0));
        const fallback = lower(policies).map(({ policy, priority = 0 }) => ({ policy, priority }));
        const renewed = lower(migrated.flatMap(({ object }) => (object === undefined ? [] : [parse(object)])));
        const renewedPolicies = renewed.map(({ policy }) => policy);
        if (comparison.differences.length === 0) seen.equal += 1;
        for (const { name, address } of nodes) {
          const seenByIt = {
            ...world,
            nodes: world.nodes.map((node) => ({ ...node, isThisNode: node.name === name })),
          };
          const its = comparison.differences.filter(({ nodes: own }) => own.some((node) => node.name === name));
          const packetsOfIt = [...tried, ...its.map(packetOf)].map((packet): WorldPacket => ({ ...packet, pod: "" }));
          for (const packet of packetsOfIt) {
            if (packet.peer === address) continue;
            const before = judge([], seenByIt, packet, { fallback }).verdict;
            const after = judge(renewedPolicies, seenByIt, packet).verdict;
            const isDifferent = before !== after;
            assert.equal(
              isListed(comparison.differences, packet, name),
              isDifferent,
              `${name} ${JSON.stringify(packet)}`,
            );
            seen[isDifferent ? "different" : "same"] += 1;
          }
        }
      },
    ),
    { numRuns: 100 },
  );
  assert.ok(seen.equal > 5 && seen.different > 100 && seen.same > 2000, JSON.stringify(seen));
});

test("migrateObjects finds the same meaning of policies of nodes, and tells what their order keeps from another", () => {
  const ofNodes = { selector: { nodeSelector: { matchLabels: { role: "edge" } } } };
  const ssh = { ports: [{ port: 22 }, { port: 8443 }] };
  const same = migrateObjects([oldPolicy("p", { ...ofNodes, ingress: [ssh, ...closing] })]);
  assert.deepEqual([same.comparison.differences, same.written.length], [[], 1]);
  assert.deepEqual([same.comparison.madeUpNodes, same.comparison.isPartial], [2, false]);
  const late = { ports: [{ port: 8443 }, { port: 8444 }], action: "deny" };
  const lost = migrateObjects([oldPolicy("p", { ...ofNodes, ingress: [ssh, late] })]);
  assert.deepEqual(lost.written, []);
  assert.match(
    lost.issues.map(({ message }) => message).join("\n"),
    /^spec\.ingress\[1\]: is asked after spec\.ingress\[0\]/m,
  );
  const [difference, ...others] = lost.comparison.differences;
  assert.deepEqual(others, []);
  assert.deepEqual(difference?.ports, [{ protocol: "TCP", from: 8443, to: 8443 }]);
  assert.ok(difference?.nodes.every(({ labels }) => labels["role"] === "edge"));
  const block = { from: [{ ipBlock: { cidr: "10.0.0.0/8" } }] };
  const blocked = migrateObjects([oldPolicy("p", { ...ofNodes, ingress: [block, ...closing] })]).comparison.differences;
  assert.deepEqual([...new Set(blocked.flatMap((each) => each.peers.map(({ holder }) => holder.is)))].toSorted(), [
    "node",
    "pod",
  ]);
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
    },
  });
});

test("migrateObjects makes a label of a priority that somebody wrote", () => {
  const labelsOf = (more: Readonly<Record<string, unknown>>): unknown => {
    const { object } = migrateObjects([oldPolicy("p", { ingress: closing, ...more })]).migrated[0] ?? {};
    return (object as { readonly spec?: { readonly labels?: unknown } } | undefined)?.spec?.labels;
  };
  assert.equal(labelsOf({}), undefined);
  assert.deepEqual(labelsOf({ priority: 100 }), [{ key: "priority", value: "100" }]);
});

test("migrateObjects warns of a direction that denies nothing, and of none that denies some", () => {
  const warned = (ingress: readonly unknown[]): readonly string[] =>
    migrateObjects([oldPolicy("p", { ingress })]).issues.map(({ code, path }) => `${code} ${path}`);
  const from = (cidr: string): readonly unknown[] => [{ ipBlock: { cidr } }];
  assert.deepEqual(warned([{ from: from("192.0.2.0/24"), action: "deny" }]), []);
  assert.deepEqual(warned([{ from: from("192.0.2.0/24"), action: "deny" }, { from: from("198.51.100.0/24") }]), []);
  assert.deepEqual(warned([{ from: from("192.0.2.0/24") }]), ["allows-all /spec/ingress"]);
});
