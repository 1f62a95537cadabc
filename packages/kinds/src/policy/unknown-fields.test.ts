import assert from "node:assert/strict";
import { test } from "node:test";
import type { PolicyIntent, PolicyRule, PolicyStatement } from "@bpfleet/features";
import type { Parsed, ResourceView } from "../kind.ts";
import { findKind } from "../kinds.ts";

const view: ResourceView = {
  find: () => undefined,
  list: () => [],
  node: { name: "n", labels: {}, internalIps: [] },
};

function parse(apiVersion: string, kind: string, spec: object) {
  const object = { apiVersion, kind, metadata: { name: "p", namespace: "x" }, spec };
  return findKind(apiVersion, kind)?.parse(object) ?? assert.fail(kind);
}

/** What it is lowered to, and what its problems say. */
function lower(apiVersion: string, kind: string, spec: object) {
  const result = parse(apiVersion, kind, spec);
  assert.ok(result.ok, JSON.stringify(result.issues));
  const parsed: Parsed = result.value;
  const { intents, problems } = findKind(apiVersion, kind)?.lower(parsed, view) ?? assert.fail();
  const [intent] = intents as readonly PolicyIntent[];
  return { statements: intent?.policy.statements ?? [], problems: problems.map(({ message }) => message) };
}

type List = readonly PolicyRule[] | undefined;
const shape = (list: List) => list?.map(({ peers, ports }) => [peers, ports]);
const open = ["any", "any"];

test("a rule with a field that nobody knows lets nobody through, and denies everybody", () => {
  const cilium = (spec: object) => lower("cilium.io/v2", "CiliumNetworkPolicy", { endpointSelector: {}, ...spec });
  const peer = {
    fromEndpoints: [{ matchLabels: { app: "a" } }],
    toPorts: [{ ports: [{ port: "80", protocl: "UDP" }] }],
  };
  const of = ({ statements }: { readonly statements: readonly PolicyStatement[] }) => statements[0]?.ingress;
  const allowing = cilium({ ingress: [peer, { fromEntities: ["all"] }] });
  assert.deepEqual(
    of(allowing)?.allow.map(({ peers }) => peers !== "any" && peers.length),
    [0, 1],
  );
  assert.deepEqual(allowing.problems, [
    "spec.ingress[0].toPorts[0].ports[0].protocl is not served yet; nobody is let through by a rule with a field that nobody knows",
  ]);
  assert.deepEqual(shape(of(cilium({ ingressDeny: [{ ...peer, x: 1 }] }))?.deny), [open]);

  const { statements, problems } = lower("networking.k8s.io/v1", "NetworkPolicy", {
    ingress: [{ form: [{ podSelector: {} }] }, {}],
  });
  assert.deepEqual(shape(statements[0]?.ingress.allow), [[[], "any"], open]);
  assert.equal(problems.length, 1);

  const ordered = [{ form: [] }, { action: "deny", ports: [{ port: 80, endport: 90 }] }];
  const fallback = lower("networking.fos1.io/v1alpha1", "EBPFNetworkPolicy", {
    policyType: "filtering",
    ingress: ordered,
  });
  assert.deepEqual(
    fallback.statements.flatMap(({ ingress: { allow, deny } }) => shape([...allow, ...deny])),
    [[[], "any"], open],
  );
  assert.equal(fallback.problems.length, 2);
  const container = lower("networking.fos1.io/v1alpha1", "EBPFContainerPolicy", {
    selector: { podSelector: {} },
    networkControls: { enableIngressControl: true, ingressRules: ordered },
  });
  assert.deepEqual(
    container.statements.flatMap(({ ingress: { allow, deny } }) => shape([...allow, ...deny])),
    [[[], "any"], open],
  );
  assert.equal(container.problems.length, 2);
});

test("a field that nobody knows, of what says whom a policy is about, makes it unfit", () => {
  const refused: readonly (readonly [apiVersion: string, kind: string, spec: object])[] = [
    ["networking.k8s.io/v1", "NetworkPolicy", { policyType: ["Egress"] }],
    ["networking.k8s.io/v1", "NetworkPolicy", { podSelector: { matchLabel: { app: "a" } } }],
    ["cilium.io/v2", "CiliumNetworkPolicy", { endpointSelector: { labels: {} }, ingress: [{}] }],
    ["cilium.io/v2", "CiliumNetworkPolicy", { endpointSelector: {}, ingress: [{}], ingresDeny: [{}] }],
    ["networking.fos1.io/v1alpha1", "EBPFNetworkPolicy", { policyType: "filtering", selector: { pods: {} } }],
    [
      "networking.fos1.io/v1alpha1",
      "EBPFContainerPolicy",
      { selector: { podSelector: {} }, networkControls: { x: 1 } },
    ],
    [
      "podconfig.example.com/v1alpha1",
      "PodConfigMapConfig",
      { ebpfConfig: { l4Firewall: { enabled: true, defaultAction: "allow", blockedPort: [1] } } },
    ],
  ];
  for (const [apiVersion, kind, spec] of refused) {
    const result = parse(apiVersion, kind, spec);
    assert.equal(result.ok, false, JSON.stringify(spec));
    assert.match(result.issues.find(({ code }) => code === "unknown-field")?.message ?? "", /: unknown field/);
  }
  const labels = parse("cilium.io/v2", "CiliumNetworkPolicy", {
    endpointSelector: {},
    ingress: [{}],
    labels: [{ key: "a", x: 1 }],
  });
  assert.ok(labels.ok);
});
