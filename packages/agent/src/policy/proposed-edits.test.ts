import assert from "node:assert/strict";
import { test } from "node:test";
import { advise, ciliumPolicy, networkPolicy, patched, web } from "../testing/advise-edit.ts";

const named = (name: string, policy: string) => policy.replace("name: p,", `name: ${name},`);
const cilium = (rules: readonly string[]) =>
  ciliumPolicy(
    `  ingress: [{ fromEntities: [world] }]\n  ingressDeny:\n${rules.map((rule) => `  - ${rule}\n`).join("")}`,
  );

const ciliumRules = [
  "{ fromEntities: [all] }",
  '{ fromCIDR: [203.0.113.0/24, 203.0.113.7/32], fromEndpoints: [{}], toPorts: [{ ports: [{ port: "1", endPort: 90 }] }] }',
  '{ fromCIDRSet: [{ cidr: 203.0.0.0/8 }], toPorts: [{ ports: [{ port: "80" }, { port: "22" }] }, { ports: [{ port: "53" }] }] }',
  "{ fromEntities: [world, cluster], icmps: [{ fields: [{ type: 8 }, { type: 0 }] }] }",
];
const orderedRules = [
  "{ action: deny }",
  "{ ports: [{ port: 22 }] }",
  "{ action: deny, ports: [{ port: 1, endPort: 90 }, { port: 53, protocol: UDP }] }",
];

const container = (rules: readonly string[]) => `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFContainerPolicy
metadata: { name: c, namespace: shop }
spec:
  selector: { podSelector: { matchLabels: { app: db } } }
  networkControls: { enableIngressControl: true, defaultIngressAction: deny, ingressRules: [${rules.join(", ")}] }
`;
const fallback = (rules: readonly string[]) => `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFNetworkPolicy
metadata: { name: f, namespace: shop }
spec:
  policyType: filtering
  selector: { podSelector: { matchLabels: { app: db } } }
  ingress: [${rules.join(", ")}]
`;
const firewall = `apiVersion: podconfig.example.com/v1alpha1
kind: PodConfigMapConfig
metadata: { name: w, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ebpfConfig: { l4Firewall: { enabled: true, defaultAction: allow, blockedPorts: [22, 80] } }
`;

function pairs(rules: readonly string[]): readonly (readonly string[])[] {
  return rules.flatMap((first) => [[first], ...rules.map((second) => [first, second])]);
}

test("findSmallestEdit proposes only what lets the packet through, of rules of each kind that deny it", () => {
  const isolating = named("q", networkPolicy("  ingress: []\n"));
  const policies = [
    ...pairs(ciliumRules).map(cilium),
    ...pairs(orderedRules).flatMap((rules) => [container(rules), fallback(rules)]),
    `${cilium(ciliumRules.slice(0, 1))}---\n${firewall}`,
    `${isolating}---\n${container(orderedRules.slice(0, 1))}---\n${firewall}`,
  ];
  let proposed = 0;
  for (const policy of policies)
    for (const [from, protocol, port] of [
      [web, 6, 80],
      ["203.0.113.7", 6, 22],
      ["203.0.113.7", 17, 53],
      [web, 1, 8],
    ] as const) {
      const advice = advise(policy, from, protocol, port);
      if (!advice.found) continue;
      proposed++;
      const after = advise(patched(policy, advice), from, protocol, port);
      const what = `${policy}${from} ${protocol} ${port}\n${JSON.stringify(advice, undefined, 2)}`;
      assert.ok(!after.found && after.why.startsWith("the policies would let it open a connection"), what);
    }
  assert.ok(proposed > policies.length, `${proposed} of ${policies.length} policies`);
});
