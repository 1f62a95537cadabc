import assert from "node:assert/strict";
import { test } from "node:test";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import { kinds, parseManifest, parsePrefix } from "@bpfleet/kinds";
import { acceptObject, isAccepted, type AcceptedObject } from "../compile.ts";
import { lowerObjects } from "../lowering.ts";
import { identify } from "../store/stored-object.ts";
import { findSmallestEdit, packetAt, type EditAdvice } from "./smallest-edit.ts";
import { whoIsThere } from "./who-is.ts";

const endpoint = (number: number, name: string) => ({
  found: true as const,
  interface: name,
  ifindex: number,
  addresses: [`10.0.0.${number}/24`],
  mac: "",
});
const facts = nodeFacts({
  objects: { policy: { digest: "d" } },
  interfaces: [interfaceFacts("eth0", { addresses: ["192.168.0.1/24"] }), interfaceFacts("db", { ifindex: 12 })],
  endpoints: { "shop/web": endpoint(11, "web"), "shop/db": endpoint(12, "db"), "shop/batch": endpoint(13, "batch") },
});

const pod = (namespace: string, name: string, labels: string, address = "") => `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: ${labels}, annotations: { bpfleet.io/netns: ${name} } }
${address === "" ? "" : `status: { podIPs: [{ ip: ${address} }] }\n`}---
`;
const pods =
  pod("shop", "web", "{ app: web, pod-template-hash: x7 }") +
  pod("shop", "db", "{ app: db }") +
  pod("shop", "batch", "{ app: batch }");

const networkPolicy = (rules: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  policyTypes: [Ingress]
${rules}`;

const ciliumPolicy = (rules: string) => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: p, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: db } }
${rules}`;

function accept(yaml: string): readonly AcceptedObject[] {
  const { objects } = parseManifest(yaml, "test.yaml");
  return objects.map((manifest) => {
    const named = identify(manifest);
    assert.ok("ref" in named);
    const stored = {
      ref: named.ref,
      object: manifest.value as never,
      positionOf: manifest.positionOf,
      path: "",
      text: "",
      source: { file: "test.yaml", line: 1, isRendered: false },
      spec: "",
    };
    const accepted = acceptObject(stored, kinds);
    assert.ok(isAccepted(accepted), JSON.stringify(accepted));
    return accepted;
  });
}

function advise(policies: string, from: string, protocol: number, port: number): EditAdvice {
  const objects = accept(pods + policies);
  const lower = (some: readonly AcceptedObject[]) => lowerObjects(some, facts).intents;
  const read = parsePrefix(from);
  assert.ok(read.ok);
  const opening = { source: read.prefix.bytes, destination: Uint8Array.of(10, 0, 0, 12), protocol, port };
  return findSmallestEdit(
    { ifindex: 12, direction: "ingress", opening },
    { objects, kinds, facts, who: whoIsThere(lower(objects), facts), lower },
  );
}

const web = "10.0.0.11";

test("findSmallestEdit adds a port where the peer is named already, and nobody else comes in by it", () => {
  const policy = networkPolicy(
    `  ingress: [{ from: [{ podSelector: { matchLabels: { app: web } } }], ports: [{ port: 5432 }] }]`,
  );
  const advice = advise(policy, web, 6, 80);
  assert.ok(advice.found);
  assert.equal(advice.path, "/spec/ingress/0/ports");
  assert.equal(advice.yaml, "- port: 80\n  protocol: TCP\n");
  assert.deepEqual(advice.alsoAllows, []);
  assert.equal(advice.position?.line, 19);
  assert.deepEqual(advice.patch, [
    { op: "add", path: "/spec/ingress/0/ports/-", value: { port: 80, protocol: "TCP" } },
  ]);
});

test("findSmallestEdit makes a rule of its own rather than let others in", () => {
  const policy = networkPolicy(`  ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 5432 }] }]`);
  const advice = advise(policy, web, 17, 53);
  assert.ok(advice.found);
  assert.equal(advice.path, "/spec/ingress");
  assert.match(advice.yaml, /matchLabels:\n.*app: web/);
  assert.doesNotMatch(advice.yaml, /pod-template-hash/);
});

test("findSmallestEdit names the namespace of a peer of another one, and the address of nobody known", () => {
  const policy = networkPolicy(`  ingress: []`);
  const elsewhere = `\n---\n${pod("front", "edge", "{ app: edge }", "10.9.0.9")}`;
  const other = advise(policy + elsewhere.replace(/---\n$/, ""), "10.9.0.9", 6, 80);
  assert.ok(other.found, JSON.stringify(other));
  assert.match(other.yaml, /kubernetes\.io\/metadata\.name: front/);
  const world = advise(policy, "203.0.113.7", 6, 80);
  assert.ok(world.found);
  assert.match(world.yaml, /cidr: 203\.0\.113\.7\/32/);
});

test("findSmallestEdit says what it would let in besides", () => {
  const advice = advise(networkPolicy(`  ingress: []`), web, 1, 8);
  assert.ok(advice.found);
  assert.deepEqual(advice.alsoAllows, ["every port of the same peer"]);
});

test("findSmallestEdit speaks Cilium's language", () => {
  const one = advise(
    ciliumPolicy(`  ingress:
  - fromEndpoints: [{ matchLabels: { app: web } }]
    toPorts: [{ ports: [{ port: "5432", protocol: TCP }] }]`),
    web,
    6,
    80,
  );
  assert.ok(one.found);
  assert.equal(one.path, "/spec/ingress/0/toPorts/0/ports");
  const icmp = advise(ciliumPolicy(`  ingress: [{}]`), web, 1, 8);
  assert.ok(icmp.found);
  assert.match(icmp.yaml, /fromEndpoints:[^]*icmps:[^]*type: 8/);
  const world = advise(ciliumPolicy(`  ingress: [{}]`), "203.0.113.7", 6, 80);
  assert.ok(world.found);
  assert.match(world.yaml, /fromCIDR:\n\s+- 203\.0\.113\.7\/32/);
});

test("findSmallestEdit proposes what lets packets to the node itself through", () => {
  const policy = `apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: { name: p }
spec:
  nodeSelector: {}
  ingress: [{ fromEndpoints: [{ matchLabels: { app: web } }], toPorts: [{ ports: [{ port: "80", protocol: TCP }] }] }]
`;
  const objects = accept(pods + policy);
  const lower = (some: readonly AcceptedObject[]) => lowerObjects(some, facts).intents;
  const node = { isNode: true, namespace: "", pod: "n", interface: "", ifindex: 0x7fff_ffff } as const;
  const opening = {
    source: Uint8Array.of(203, 0, 113, 7),
    destination: Uint8Array.of(192, 168, 0, 1),
    protocol: 6,
    port: 8080,
  };
  const packet = packetAt({ ifindex: 1, direction: "egress", opening }, [node]);
  assert.deepEqual([packet.ifindex, packet.direction], [node.ifindex, "ingress"]);
  const advice = findSmallestEdit(packet, { objects, kinds, facts, who: whoIsThere(lower(objects), facts), lower });
  assert.ok(advice.found, JSON.stringify(advice));
  assert.match(advice.yaml, /fromCIDR:[^]*203\.0\.113\.7\/32[^]*port: "8080"/);
});

test("findSmallestEdit proposes nothing where a rule denies, or where what would allow cannot be served", () => {
  const denied = advise(
    ciliumPolicy(`  ingress: [{ fromEndpoints: [{}] }]
  ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: web } }] }]`),
    web,
    6,
    80,
  );
  assert.ok(!denied.found);
  assert.match(denied.why, /CiliumNetworkPolicy shop\/p spec\.ingressDeny\[0\] denies it/);
  const unserved = advise(
    ciliumPolicy(`  ingress:
  - fromEndpoints: [{ matchLabels: { app: web } }]
    toPorts: [{ ports: [{ port: "80", protocol: TCP }], rules: { http: [{ path: / }] } }]`),
    web,
    6,
    80,
  );
  assert.ok(!unserved.found, JSON.stringify(unserved));
  assert.match(unserved.why, /means it, and lets nothing through since .*HTTP.* cannot be served/i);
  const passes = advise(networkPolicy(`  ingress: [{}]`), web, 6, 80);
  assert.ok(!passes.found);
  const other = advise(networkPolicy(`  ingress: []`), web, 47, 0);
  assert.ok(!other.found);
  assert.match(other.why, /something else/);
});
