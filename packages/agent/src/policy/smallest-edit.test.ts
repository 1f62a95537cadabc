import assert from "node:assert/strict";
import { test } from "node:test";
import {
  advise,
  adviseOf,
  bytesOf,
  ciliumPolicy,
  networkPolicy,
  pod,
  stepsToAdvise,
  web,
} from "../testing/advise-edit.ts";
import { packetAt } from "./dropped-packet.ts";
import type { EditAdvice } from "./smallest-edit.ts";

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

test("findSmallestEdit rather adds a rule or a port than a peer to whom other ports open too", () => {
  const rule = (from: string, ports: string) => `  - { from: [{ ipBlock: { cidr: ${from} } }], ports: [${ports}] }\n`;
  for (const ports of ["{ port: 1000, endPort: 40000 }", "{ port: 8080 }, { port: 53, protocol: UDP }"]) {
    const others = rule("203.0.113.9/32", ports);
    const asked = ["203.0.113.7", 6, 8080] as const;
    const port = advise(networkPolicy(`  ingress:\n${others}${rule("203.0.113.7/32", "{ port: 1 }")}`), ...asked);
    assert.ok(port.found);
    assert.deepEqual([port.path, port.alsoAllows], ["/spec/ingress/1/ports", []], ports);
    const alone = advise(networkPolicy(`  ingress:\n${others}`), ...asked);
    assert.ok(alone.found);
    assert.deepEqual([alone.path, alone.alsoAllows], ["/spec/ingress", []], ports);
  }
});

test("findSmallestEdit rather makes a rule than lets a block of unknown addresses in at another port", () => {
  const many = networkPolicy("  ingress: [{ from: [{ ipBlock: { cidr: 203.0.0.0/8 } }], ports: [{ port: 443 }] }]");
  const advice = advise(many, "203.0.113.7", 6, 80);
  assert.ok(advice.found);
  assert.deepEqual([advice.path, advice.alsoAllows], ["/spec/ingress", []]);
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

test("findSmallestEdit adds to an EBPFContainerPolicy a port of a rule that allows, or the peer's address", () => {
  const policy = (rules: string) => `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFContainerPolicy
metadata: { name: p, namespace: shop }
spec:
  selector: { podSelector: { matchLabels: { app: db } } }
  networkControls: { enableIngressControl: true, defaultIngressAction: deny${rules} }`;
  const port = advise(
    policy(
      ", ingressRules: [{ action: deny, ports: [{ port: 22 }] }, { ipBlock: { cidr: 10.0.0.11/32 }, ports: [{ port: 5432 }] }]",
    ),
    web,
    6,
    80,
  );
  assert.ok(port.found, JSON.stringify(port));
  assert.equal(port.path, "/spec/networkControls/ingressRules/1/ports");
  assert.deepEqual(port.alsoAllows, []);
  const rule = advise(policy(""), web, 17, 53);
  assert.ok(rule.found, JSON.stringify(rule));
  assert.deepEqual(rule.patch, [
    {
      op: "add",
      path: "/spec/networkControls/ingressRules",
      value: [{ ipBlock: { cidr: "10.0.0.11/32" }, ports: [{ port: 53, protocol: "UDP" }] }],
    },
  ]);
  assert.deepEqual(rule.alsoAllows, []);
  const sctp = advise(policy(""), web, 132, 99);
  assert.ok(sctp.found, JSON.stringify(sctp));
  assert.deepEqual(sctp.alsoAllows, ["every port of the same peer"]);
});

test("findSmallestEdit adds the port to an l4Firewall, and says who else reaches it then", () => {
  const policy = `apiVersion: podconfig.example.com/v1alpha1
kind: PodConfigMapConfig
metadata: { name: p, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ebpfConfig: { l4Firewall: { enabled: true, defaultAction: block, allowedPorts: [443], blockedPorts: [22] } }`;
  const advice = advise(policy, web, 6, 80);
  assert.ok(advice.found, JSON.stringify(advice));
  assert.equal(advice.path, "/spec/ebpfConfig/l4Firewall/allowedPorts");
  assert.equal(advice.yaml, "- 80\n");
  assert.deepEqual(advice.patch, [{ op: "add", path: "/spec/ebpfConfig/l4Firewall/allowedPorts/-", value: 80 }]);
  assert.ok(advice.alsoAllows.includes("pod shop/batch"), advice.alsoAllows.join());
  assert.equal(advice.alsoAllows.at(-1), "other addresses, such as 10.0.0.10");
  for (const [protocol, port] of [
    [1, 8],
    [132, 99],
  ] as const)
    assert.ok(!advise(policy, web, protocol, port).found);
});

test("findSmallestEdit proposes what lets packets to the node itself through", () => {
  const policy = `apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: { name: p }
spec:
  nodeSelector: {}
  ingress: [{ fromEndpoints: [{ matchLabels: { app: web } }], toPorts: [{ ports: [{ port: "80", protocol: TCP }] }] }]
`;
  const node = { isNode: true, namespace: "", pod: "n", interface: "", ifindex: 0x7fff_ffff } as const;
  const opening = {
    source: Uint8Array.of(203, 0, 113, 7),
    destination: Uint8Array.of(192, 168, 0, 1),
    protocol: 6,
    port: 8080,
  };
  const packet = packetAt({ ifindex: 1, direction: "egress", opening }, [node]);
  assert.deepEqual([packet.ifindex, packet.direction], [node.ifindex, "ingress"]);
  const advice = adviseOf(policy, packet);
  assert.ok(advice.found, JSON.stringify(advice));
  assert.match(advice.yaml, /fromCIDR:[^]*203\.0\.113\.7\/32[^]*port: "8080"/);
});

test("findSmallestEdit proposes nothing where what would allow cannot be served", () => {
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

const sends = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Egress]
  egress: [{ to: [{ podSelector: { matchLabels: { app: batch } } }], ports: [{ port: 8085 }] }]
---
apiVersion: v1
kind: Service
metadata: { name: store, namespace: data }
spec: { clusterIP: 10.97.0.10, ports: [{ port: 80, targetPort: 8085 }] }
---
${pod("data", "store", "{ app: store }", "10.9.0.9")}`;

const slice = (name: string, port: number, ...addresses: readonly string[]) => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}, namespace: data, labels: { kubernetes.io/service-name: store } }
addressType: IPv4
ports: [{ name: "", port: ${port} }]
endpoints: [${addresses.map((address) => `{ addresses: [${address}] }`).join(", ")}]
---
`;

function adviseToService(slices: string, judgedPeer?: string, to = "10.97.0.10"): EditAdvice {
  const opening = { source: bytesOf(web), destination: bytesOf(to), protocol: 6, port: 80 };
  return adviseOf(sends + slices.replace(/---\n$/, ""), { ifindex: 11, direction: "egress", opening, judgedPeer });
}

test("findSmallestEdit is about the back end that a Service sends the packet to", () => {
  for (const judged of ["10.9.0.9", undefined]) {
    const advice = adviseToService(slice("a", 8085, "10.9.0.9"), judged);
    assert.ok(advice.found, JSON.stringify(advice));
    assert.match(advice.yaml, /app: store/);
    assert.match(advice.yaml, /kubernetes\.io\/metadata\.name: data/);
    assert.doesNotMatch(advice.yaml, /10\.97\.0\.10|port: 80\n/);
    assert.deepEqual(advice.behind, {
      service: "Service data/store",
      at: "10.97.0.10:80",
      backend: "10.9.0.9:8085",
    });
    assert.equal(advice.otherBackendsDropped, undefined);
  }
});

test("findSmallestEdit tells of a Service's other back ends which ones are dropped still", () => {
  const slices = slice("a", 8085, "10.9.0.9", "203.0.113.7") + slice("b", 8086, "10.0.0.13");
  const pods = adviseToService(slices, "10.9.0.9");
  assert.ok(pods.found);
  assert.match(pods.yaml, /app: store/);
  assert.deepEqual(pods.otherBackendsDropped, ["10.0.0.13:8086", "203.0.113.7:8085"]);
  const world = adviseToService(slices, "203.0.113.7");
  assert.ok(world.found);
  assert.match(world.yaml, /cidr: 203\.0\.113\.7\/32/);
  assert.equal(world.behind?.backend, "203.0.113.7:8085");
  const port = adviseToService(slices, "10.0.0.13");
  assert.ok(port.found);
  assert.equal(port.path, "/spec/egress/0/ports");
  assert.equal(port.yaml, "- port: 8086\n  protocol: TCP\n");
});

test("findSmallestEdit proposes nothing where the back end or its port is not known", () => {
  const both = slice("a", 8085, "10.9.0.9", "203.0.113.7");
  for (const [slices, judged, to] of [
    [both, undefined],
    [both, "10.9.0.8"],
    [slice("a", 8085, "10.9.0.9") + slice("b", 8086, "10.9.0.9"), "10.9.0.9"],
    [both, "10.9.0.9", "10.97.0.11"],
  ] as const) {
    const advice = adviseToService(slices, judged, to);
    assert.ok(!advice.found, JSON.stringify(advice));
    assert.match(advice.why, /not known; a rule must name the back end and its targetPort$/);
  }
  const direct = adviseToService(both, "203.0.113.9", "203.0.113.9");
  assert.ok(direct.found);
  assert.equal(direct.behind, undefined);
});

test("findSmallestEdit finds the one policy that names the peer among hundreds, step by step", () => {
  const named = (at: number): string => (at === 290 ? "web" : `other-${at}`);
  const many = Array.from({ length: 300 }, (_, at) =>
    networkPolicy(
      `  ingress: [{ from: [{ podSelector: { matchLabels: { app: ${named(at)} } } }], ports: [{ port: ${1000 + at} }] }]`,
    ).replace("name: p,", `name: p${at},`),
  ).join("\n---\n");
  const advice = advise(many, web, 6, 80);
  assert.ok(advice.found, JSON.stringify(advice));
  assert.deepEqual([advice.object.name, advice.path, advice.alsoAllows], ["p290", "/spec/ingress/0/ports", []]);
  assert.ok(stepsToAdvise(many, web, 6, 80) > 300);
});

test("findSmallestEdit finds a rule to add where more policies than are looked at select the pod", () => {
  const many = Array.from({ length: 700 }, (_, at) =>
    networkPolicy(`  ingress: [{ from: [{ ipBlock: { cidr: 192.0.2.0/24 } }], ports: [{ port: 5432 }] }]`).replace(
      "name: p,",
      `name: p${at},`,
    ),
  ).join("\n---\n");
  const advice = advise(many, web, 6, 80);
  assert.ok(advice.found, JSON.stringify(advice));
  assert.equal(advice.path, "/spec/ingress");
});
