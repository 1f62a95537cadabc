import assert from "node:assert/strict";
import { test } from "node:test";
import { advise, adviseOf, bytesOf, ciliumPolicy, networkPolicy, patched, web } from "../testing/advise-edit.ts";
import type { EditAdvice } from "./smallest-edit.ts";

type Found = EditAdvice & { readonly found: true };

function found(advice: EditAdvice): Found {
  assert.ok(advice.found, JSON.stringify(advice));
  return advice;
}

/** What is proposed, which lets the packet through when its patches are applied. */
function solve(...[policies, ...asked]: Parameters<typeof advise>): Found {
  const advice = found(advise(policies, ...asked));
  assert.match(why(advise(patched(policies, advice), ...asked)), /^the policies would let it open a connection/);
  return advice;
}

function why(advice: EditAdvice): string {
  assert.ok(!advice.found, JSON.stringify(advice));
  return advice.why;
}

/** What goes where, and what else passes then. */
const told = ({ does, path, yaml, alsoAllows }: Found) => [does, path, yaml, alsoAllows];

const allowed = "  ingress: [{ fromEntities: [all] }]\n";
const denying = (rules: string) => ciliumPolicy(`${allowed}  ingressDeny:\n${rules}`);

test("findSmallestEdit takes the one port out of several that Cilium's rule denies", () => {
  const policy = denying(`  - fromEndpoints: [{ matchLabels: { app: web } }]
    toPorts:
    - ports: [{ port: "443", protocol: TCP }]
    - ports:
      - { port: "22", protocol: TCP }
      - { port: "80", protocol: TCP }`);
  const advice = solve(policy, web, 6, 80);
  assert.deepEqual(told(advice), [
    "take-out",
    "/spec/ingressDeny/0/toPorts/1/ports",
    '- port: "80"\n  protocol: TCP\n',
    [],
  ]);
  assert.deepEqual(advice.patch, [{ op: "remove", path: "/spec/ingressDeny/0/toPorts/1/ports/1" }]);
  assert.equal(advice.position?.line, 25);
  const item = solve(policy, web, 6, 443);
  assert.deepEqual(item.patch, [{ op: "remove", path: "/spec/ingressDeny/0/toPorts/0" }]);
});

test("findSmallestEdit takes the one peer out of several that Cilium's rule denies, and the one field", () => {
  const advice = solve(
    denying("  - fromEndpoints: [{ matchLabels: { app: batch } }, { matchLabels: { app: web } }]"),
    web,
    6,
    80,
  );
  assert.deepEqual(advice.patch, [{ op: "remove", path: "/spec/ingressDeny/0/fromEndpoints/1" }]);
  assert.deepEqual(advice.alsoAllows, ["every port of the same peer"]);
  const both = denying(`  - fromEndpoints: [{ matchLabels: { app: web } }]
    fromCIDR: [203.0.113.0/24]
    toPorts: [{ ports: [{ port: "80", protocol: TCP }] }]`);
  const field = solve(both, web, 6, 80);
  assert.deepEqual(told(field), [
    "take-out",
    "/spec/ingressDeny/0",
    "fromEndpoints:\n- matchLabels:\n    app: web\n",
    [],
  ]);
  assert.deepEqual(field.patch, [{ op: "remove", path: "/spec/ingressDeny/0/fromEndpoints" }]);
  const type = denying(`  - fromEntities: [all]
    icmps: [{ fields: [{ type: 0 }, { type: 8 }] }]`);
  assert.deepEqual(solve(type, web, 1, 8).patch, [{ op: "remove", path: "/spec/ingressDeny/0/icmps/0/fields/1" }]);
});

test("findSmallestEdit adds an exception to the CIDR of Cilium's rule that denies", () => {
  const policy = denying(`  - fromCIDRSet: [{ cidr: 198.51.100.0/24 }, { cidr: 203.0.113.0/24 }]
    toPorts: [{ ports: [{ port: "80", protocol: TCP }] }]`);
  const advice = solve(policy, "203.0.113.7", 6, 80);
  assert.deepEqual(told(advice), ["add", "/spec/ingressDeny/0/fromCIDRSet/1/except", "- 203.0.113.7/32\n", []]);
  assert.deepEqual(advice.patch, [
    { op: "add", path: "/spec/ingressDeny/0/fromCIDRSet/1/except", value: ["203.0.113.7/32"] },
  ]);
  const more = solve(policy.replace("/24 }]", "/24, except: [203.0.113.9/32] }]"), "203.0.113.7", 6, 80);
  assert.equal(more.patch[0]?.path, "/spec/ingressDeny/0/fromCIDRSet/1/except/-");
  const plain = solve(denying("  - fromCIDR: [203.0.113.0/24]\n  - fromCIDR: [198.51.100.0/24]"), "203.0.113.7", 6, 80);
  assert.deepEqual(plain.patch, [{ op: "remove", path: "/spec/ingressDeny/0" }]);
  assert.equal(plain.alsoAllows.at(-1), "other addresses, such as 203.0.113.6");
});

test("findSmallestEdit takes a whole rule out where it is about one peer and one port, also of specs and of egress", () => {
  const policy = `apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: { name: p }
specs:
- endpointSelector: { matchLabels: { app: web } }
  egress: [{ toEntities: [all] }]
- endpointSelector: { matchLabels: { app: web } }
  egressDeny:
  - toPorts: [{ ports: [{ port: "22", protocol: TCP }] }]
  - { toEndpoints: [{ matchLabels: { app: db } }], toPorts: [{ ports: [{ port: "80", protocol: TCP }] }] }
`;
  const opening = { source: bytesOf(web), destination: Uint8Array.of(10, 0, 0, 12), protocol: 6, port: 80 };
  const advice = found(adviseOf(policy, { ifindex: 11, direction: "egress", opening }));
  assert.deepEqual(advice.patch, [{ op: "remove", path: "/specs/1/egressDeny/1" }]);
  assert.deepEqual(advice.alsoAllows, []);
  assert.equal(advice.position?.line, 22);
});

test("findSmallestEdit names all edits where several rules deny, or none allows it besides", () => {
  const several =
    denying(`  - { fromEndpoints: [{ matchLabels: { app: web } }], toPorts: [{ ports: [{ port: "80" }] }] }
  - fromEndpoints: [{ matchLabels: { app: batch } }, { matchLabels: { app: web } }]
  - fromCIDR: [198.51.100.0/24]`);
  const twice = solve(several, web, 6, 80);
  assert.deepEqual(
    [twice, ...(twice.and ?? [])].map(({ path, position, patch }) => [path, position?.line, patch[0]?.path]),
    [
      ["/spec/ingressDeny", 20, "/spec/ingressDeny/0"],
      ["/spec/ingressDeny/1/fromEndpoints", 21, "/spec/ingressDeny/0/fromEndpoints/1"],
    ],
  );
  const closed = ciliumPolicy(`  ingress: [{ fromEndpoints: [{ matchLabels: { app: batch } }] }]
  ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: web } }, { matchLabels: { app: x } }] }]`);
  const both = solve(closed, web, 6, 80);
  assert.deepEqual(both.patch, [{ op: "remove", path: "/spec/ingressDeny/0/fromEndpoints/0" }]);
  assert.deepEqual(
    both.and?.map(({ does, path }) => [does, path]),
    [["add", "/spec/ingress"]],
  );
  assert.deepEqual(both.alsoAllows, []);
  const only = solve(ciliumPolicy("  ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: web } }] }]"), web, 6, 80);
  assert.deepEqual(
    [only, ...(only.and ?? [])].map(({ does, path }) => [does, path]),
    [
      ["add", "/spec/ingress"],
      ["take-out", "/spec/ingressDeny"],
    ],
  );
  assert.deepEqual(only.alsoAllows, []);
});

test("findSmallestEdit says which rules deny, where it would take too many edits or none is about it", () => {
  const rule = "  - fromEndpoints: [{ matchLabels: { app: web } }]\n";
  assert.match(
    why(advise(denying(rule.repeat(4)), web, 6, 80)),
    /^(CiliumNetworkPolicy shop\/p spec\.ingressDeny\[\d\] and ){3}.* deny it: after 3 edits it would still be dropped$/,
  );
  const other = rule.replace("web", "batch");
  assert.match(
    why(advise(denying(`${rule}${other}`).replace(allowed, ""), web, 47, 0)),
    /^CiliumNetworkPolicy shop\/p spec\.ingressDeny\[0\] denies it; without that, rules name TCP, UDP and SCTP ports/,
  );
  const only = denying(rule).replace(allowed, "");
  assert.match(why(advise(only, web, 47, 0)), /p spec\.ingressDeny\[0\] denies it, whatever others allow$/);
});

const containers = (rules: string, otherwise = "allow") => `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFContainerPolicy
metadata: { name: p, namespace: shop }
spec:
  selector: { podSelector: { matchLabels: { app: db } } }
  networkControls:
    enableIngressControl: true
    defaultIngressAction: ${otherwise}
    ingressRules:
${rules}`;

test("findSmallestEdit takes a port out of a rule of an EBPFContainerPolicy, or adds an exception, or a rule before it", () => {
  const port = solve(
    containers("    - { action: deny, ipBlock: { cidr: 10.0.0.11/32 }, ports: [{ port: 22 }, { port: 80 }] }"),
    web,
    6,
    80,
  );
  assert.deepEqual(port.patch, [{ op: "remove", path: "/spec/networkControls/ingressRules/0/ports/1" }]);
  assert.equal(port.yaml, "- port: 80\n", "as it is written");
  assert.deepEqual(port.alsoAllows, []);
  const block = solve(
    containers("    - { action: deny, ipBlock: { cidr: 10.0.0.0/24 }, ports: [{ port: 80 }] }"),
    web,
    6,
    80,
  );
  assert.deepEqual(told(block), ["add", "/spec/networkControls/ingressRules/0/ipBlock/except", "- 10.0.0.11/32\n", []]);
  const whole = solve(
    containers("    - { action: deny, ipBlock: { cidr: 10.0.0.11/32 }, ports: [{ port: 80 }] }\n    - {}"),
    web,
    6,
    80,
  );
  assert.deepEqual(whole.patch, [{ op: "remove", path: "/spec/networkControls/ingressRules/0" }]);
  const closed = containers(
    "    - { action: allow, ports: [{ port: 443 }] }\n    - { action: deny, ports: [{ port: 80 }] }",
  );
  const before = solve(closed, web, 6, 80);
  assert.deepEqual(before.patch, [
    {
      op: "add",
      path: "/spec/networkControls/ingressRules/1",
      value: { ipBlock: { cidr: "10.0.0.11/32" }, ports: [{ port: 80, protocol: "TCP" }], action: "allow" },
    },
  ]);
  assert.deepEqual([before.does, before.alsoAllows], ["add-before", []]);
});

const fallback = (rules: string) => `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFNetworkPolicy
metadata: { name: p, namespace: shop }
spec:
  policyType: filtering
  selector: { podSelector: { matchLabels: { app: db } } }
  ingress:
${rules}`;

test("findSmallestEdit edits a rule of an EBPFNetworkPolicy that denies, or adds one before it", () => {
  const peer = solve(
    fallback(
      "  - { action: deny, from: [{ podSelector: { matchLabels: { app: batch } } }, { podSelector: { matchLabels: { app: web } } }], ports: [{ port: 80 }] }",
    ),
    web,
    6,
    80,
  );
  assert.deepEqual(told(peer), [
    "take-out",
    "/spec/ingress/0/from",
    "- podSelector:\n    matchLabels:\n      app: web\n",
    [],
  ]);
  const block = solve(
    fallback("  - { action: deny, from: [{ ipBlock: { cidr: 203.0.0.0/8 } }] }"),
    "203.0.113.7",
    6,
    80,
  );
  assert.deepEqual([block.does, block.path, block.alsoAllows], ["add-before", "/spec/ingress/0", []]);
  const ports = solve(
    fallback("  - { action: deny, from: [{ ipBlock: { cidr: 203.0.0.0/8 } }], ports: [{ port: 80 }] }"),
    "203.0.113.7",
    6,
    80,
  );
  assert.deepEqual(told(ports), ["add", "/spec/ingress/0/from/0/ipBlock/except", "- 203.0.113.7/32\n", []]);
  const last = `  - from: [{ podSelector: { matchLabels: { app: web } } }]
    ports: [{ port: 5432 }]
  - action: deny`;
  const earlier = solve(fallback(last), web, 6, 80);
  assert.deepEqual(told(earlier), ["add", "/spec/ingress/0/ports", "- port: 80\n  protocol: TCP\n", []]);
  const icmp = solve(fallback(last), web, 1, 8);
  assert.deepEqual(told(icmp), ["add", "/spec/ingress/0/ports", "- protocol: ICMP\n", []]);
  const before = solve(fallback(last.replace("{ matchLabels: { app: web } }", "{}")), web, 17, 53);
  assert.deepEqual([before.does, before.path, before.position?.line], ["add-before", "/spec/ingress/1", 22]);
  assert.match(before.yaml, /^- action: allow\n {2}from:[^]*app: web\n {2}ports:\n[^]*port: 53\n[^]*UDP\n$/);
  assert.deepEqual(before.alsoAllows, []);
});

const firewall = (fields: string) => `apiVersion: podconfig.example.com/v1alpha1
kind: PodConfigMapConfig
metadata: { name: p, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ebpfConfig:
    l4Firewall:
      enabled: true
${fields}`;

test("findSmallestEdit takes the number out of blockedPorts, and adds it where only allowed ones pass", () => {
  const open = solve(firewall("      defaultAction: allow\n      blockedPorts:\n      - 22\n      - 80"), web, 6, 80);
  assert.deepEqual(told(open).slice(0, 3), ["take-out", "/spec/ebpfConfig/l4Firewall/blockedPorts", "- 80\n"]);
  assert.deepEqual(open.patch, [{ op: "remove", path: "/spec/ebpfConfig/l4Firewall/blockedPorts/1" }]);
  assert.ok(open.alsoAllows.includes("pod shop/batch"), open.alsoAllows.join());
  assert.ok(open.alsoAllows.includes("other ports of the same peer, such as UDP 80"), open.alsoAllows.join());
  assert.equal(open.position?.line, 24);
  const closed = solve(firewall("      defaultAction: block\n      blockedPorts: [80]"), web, 6, 80);
  assert.deepEqual(
    [closed, ...(closed.and ?? [])].map(({ does, patch }) => [does, patch]),
    [
      ["take-out", [{ op: "remove", path: "/spec/ebpfConfig/l4Firewall/blockedPorts/0" }]],
      ["add", [{ op: "add", path: "/spec/ebpfConfig/l4Firewall/allowedPorts", value: [80] }]],
    ],
  );
  const isolated = `${networkPolicy("  ingress: []").replace("name: p", "name: q")}
---
${firewall("      defaultAction: allow\n      blockedPorts: [80]")}`;
  const tiers = solve(isolated, web, 6, 80);
  assert.deepEqual(
    [tiers, ...(tiers.and ?? [])].map(({ object, does, path }) => [object.name, does, path]),
    [
      ["q", "add", "/spec/ingress"],
      ["p", "take-out", "/spec/ebpfConfig/l4Firewall/blockedPorts"],
    ],
  );
  const closedTwice = solve(
    isolated.replace("defaultAction: allow", "defaultAction: block").replace("[80]", "[22]"),
    web,
    6,
    80,
  );
  assert.deepEqual(
    [closedTwice, ...(closedTwice.and ?? [])].map(({ object, path }) => [object.name, path]),
    [
      ["p", "/spec/ebpfConfig/l4Firewall/allowedPorts"],
      ["q", "/spec/ingress"],
    ],
  );
});

test("findSmallestEdit rather adds a rule before several that deny than take out each, where another tier denies too", () => {
  const one = "    - { action: deny, ipBlock: { cidr: 10.0.0.11/32 } }\n";
  const policies = `${containers(one.repeat(3))}---
${firewall("      defaultAction: allow\n      blockedPorts: [80]").replace("name: p", "name: w")}`;
  const advice = solve(policies, web, 6, 80);
  assert.deepEqual(
    [advice, ...(advice.and ?? [])].map(({ does, path }) => [does, path]),
    [
      ["add-before", "/spec/networkControls/ingressRules/0"],
      ["take-out", "/spec/ebpfConfig/l4Firewall/blockedPorts"],
    ],
  );
});
