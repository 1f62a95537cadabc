import assert from "node:assert/strict";
import { test } from "node:test";
import type { PolicyIntent } from "@bpfleet/features";
import type { Closing } from "../kind.ts";
import { findKind } from "../kinds.ts";

const labelled = (key: string, value: string) => ({ on: "pod", key, operator: "In", values: [value] });
const ofX = { on: "namespace-name", key: "", operator: "In", values: ["x"] };

function closingOf(apiVersion: string, kind: string, fields: object, metadata: object = {}): Closing {
  const found = findKind(apiVersion, kind) ?? assert.fail(kind);
  const namespace = found.scope === "Cluster" ? "" : "x";
  const object = {
    apiVersion,
    kind,
    metadata: { name: "p", ...(namespace !== "" && { namespace }), ...metadata },
    ...fields,
  };
  assert.equal(found.parse(object).ok, false, JSON.stringify(fields));
  const ref = { group: found.group, kind, namespace, name: "p" };
  return found.closeRefused({ object, ref, positionOf: () => undefined }) ?? assert.fail("no closing");
}

/** `WHERE ingress egress` of each statement: `.` is open, `i` isolated, `d` denied. */
function told({ intents }: Closing): readonly (readonly unknown[])[] {
  return intents.flatMap((each) => {
    const { policy } = each as PolicyIntent;
    return policy.statements.map(({ subject, ingress, egress }) => {
      const closures = [ingress, egress].map(({ isDefaultDeny, allow, deny }) => {
        assert.deepEqual(allow, []);
        assert.ok(deny.every(({ peers, ports }) => peers === "any" && ports === "any"));
        return deny.length > 0 ? "d" : isDefaultDeny ? "i" : ".";
      });
      return [subject.where, closures.join("")];
    });
  });
}

const web = { matchLabels: { app: "web" } };
const badBlock = { ipBlock: { cidr: "010.0.0.0/8" } };

test("closeRefused isolates what a NetworkPolicy selects, as far as it can be read", () => {
  const cases: readonly (readonly [spec: unknown, where: readonly unknown[], closed: string])[] = [
    [{ podSelector: web, ingress: [{ from: [badBlock] }] }, [labelled("app", "web")], "i."],
    [{ podSelector: web, egress: [{ to: [badBlock] }] }, [labelled("app", "web")], "ii"],
    [{ podSelector: web, policyTypes: ["Egress"], egress: [{ to: [badBlock] }] }, [labelled("app", "web")], ".i"],
    [{ podSelector: web, policyTypes: ["egress"] }, [labelled("app", "web")], "ii"],
    [{ podSelector: web, policyType: ["Egress"], ingress: 7 }, [labelled("app", "web")], "ii"],
    [{ podSelector: { matchLabels: { app: "web", tier: 3 } } }, [labelled("app", "web")], "i."],
    [{ podSelector: { matchExpressions: [{ key: "a", operator: "NotIn" }] } }, [], "i."],
    [{ podSelector: "web" }, [], "i."],
    [7, [], "dd"],
    [undefined, [], "dd"],
  ];
  for (const [spec, where, closed] of cases)
    assert.deepEqual(told(closingOf("networking.k8s.io/v1", "NetworkPolicy", { spec })), [[[ofX, ...where], closed]]);
});

test("closeRefused denies what a policy of Cilium's might deny, and closes no cluster that it cannot read", () => {
  const bad = [{ fromCIDR: ["010.0.0.0/8"] }];
  const cnp = (spec: unknown, more: object = {}) =>
    told(closingOf("cilium.io/v2", "CiliumNetworkPolicy", { spec, ...more }));
  const ccnp = (spec: unknown) => told(closingOf("cilium.io/v2", "CiliumClusterwideNetworkPolicy", { spec }));
  const ofWeb = [ofX, labelled("app", "web")];
  assert.deepEqual(cnp({ endpointSelector: web, ingress: bad }), [[ofWeb, "i."]]);
  assert.deepEqual(cnp({ endpointSelector: web, ingressDeny: bad }), [[ofWeb, "d."]]);
  assert.deepEqual(cnp({ endpointSelector: web, egress: [{}], ingress: bad }), [[ofWeb, "ii"]]);
  const off = { enableDefaultDeny: { ingress: false } };
  assert.deepEqual(cnp({ endpointSelector: web, ingress: bad, ...off }), []);
  assert.deepEqual(cnp({ endpointSelector: web, ingressDeny: bad, ...off }), [[ofWeb, "d."]]);
  assert.deepEqual(cnp({ endpointSelector: web, ingress: [] }), [[ofWeb, "i."]]);
  assert.deepEqual(cnp({ endpointSelector: web, ingres: [{}] }), [[ofWeb, "dd"]]);
  assert.deepEqual(cnp({ nodeSelector: web, ingress: [{}] }), []);
  assert.deepEqual(cnp({ ingress: [{}] }), [[[ofX], "i."]]);
  assert.deepEqual(cnp("x"), [[[ofX], "dd"]]);
  assert.deepEqual(cnp(undefined, { specs: [{ endpointSelector: web, ingress: [{}] }, 7] }), [
    [ofWeb, "i."],
    [[ofX], "dd"],
  ]);

  assert.deepEqual(ccnp({ endpointSelector: web, ingress: bad }), [[[labelled("app", "web")], "i."]]);
  assert.deepEqual(ccnp({ endpointSelector: {}, egress: [{ toCIDR: ["1"] }] }), [[[], ".i"]]);
  for (const spec of [
    7,
    undefined,
    { ingress: bad },
    { endpointSelector: 7, ingress: bad },
    { nodeSelector: web, ingress: bad },
  ])
    assert.deepEqual(ccnp(spec), [], JSON.stringify(spec));
});

test("closeRefused denies where ordered rules or a firewall may deny", () => {
  const of = (kind: string, spec: unknown, apiVersion = "networking.fos1.io/v1alpha1") =>
    told(closingOf(apiVersion, kind, { spec }));
  const selector = { podSelector: web };
  const ofWeb = [ofX, labelled("app", "web")];
  const broken = { ports: [{ port: 0 }] };
  const enpol = (spec: object) => of("EBPFNetworkPolicy", { policyType: "filtering", selector, ...spec });
  assert.deepEqual(enpol({ ingress: [broken, { action: "deny" }] }), [[ofWeb, "d."]]);
  assert.deepEqual(enpol({ egress: [{ action: "dny" }] }), [[ofWeb, ".d"]]);
  assert.deepEqual(enpol({ ingress: [broken] }), []);
  assert.deepEqual(enpol({ policyType: "nat", ingress: [{ action: "deny" }] }), []);
  assert.deepEqual(of("EBPFNetworkPolicy", 7), [[[ofX], "dd"]]);

  const ecpol = (networkControls: unknown) => of("EBPFContainerPolicy", { selector, networkControls });
  assert.deepEqual(ecpol({ enableEgressControl: true, defaultEgressAction: "deny", egressRules: [broken] }), [
    [ofWeb, ".d"],
  ]);
  assert.deepEqual(ecpol({ enableEgressControl: true, egressRules: [broken] }), []);
  assert.deepEqual(ecpol([]), [[ofWeb, "dd"]]);

  const pcmc = (ebpfConfig: unknown) =>
    of("PodConfigMapConfig", { podSelector: web, ebpfConfig }, "podconfig.example.com/v1alpha1");
  assert.deepEqual(pcmc({ l4Firewall: { enabled: true, defaultAction: "block", allowedPorts: [0] } }), [[ofWeb, "d."]]);
  assert.deepEqual(pcmc({ l4Firewall: { enabled: true, defaultAction: "allow", allowedPorts: [0] } }), []);
  assert.deepEqual(pcmc({ l4Firewall: { enabled: true, allowedPorts: [80] } }), [[ofWeb, "d."]]);
  assert.deepEqual(pcmc({ l4Firewall: { enabled: false } }), []);
});

test("closeRefused says what holds, and closes nothing by what is only tried out", () => {
  const spec = { podSelector: web, ingress: [{ from: [badBlock] }] };
  const closing = (fields: object, metadata?: object) =>
    closingOf("networking.k8s.io/v1", "NetworkPolicy", fields, metadata);
  assert.equal(
    closing({ spec }).so,
    "until it is corrected, the pods that it selects are closed in ingress, but for what other policies allow",
  );
  assert.equal(
    closing({ spec: 7 }).so,
    "until it is corrected, all pods of namespace x are closed in ingress and egress",
  );
  const [shadow] = closing({ spec }, { annotations: { "bpfleet.io/mode": "shadow" } })
    .intents as readonly PolicyIntent[];
  assert.equal(shadow?.policy.mode, "shadow");
  assert.deepEqual(told(closing({ spec }, { annotations: 7 })), [[[ofX, labelled("app", "web")], "i."]]);
  const nodes = closingOf("cilium.io/v2", "CiliumClusterwideNetworkPolicy", { spec: { nodeSelector: {} } });
  assert.equal(nodes.so, "it is not in force, and nothing is denied by it");
  assert.equal(
    findKind("v1", "Pod")?.closeRefused({
      object: { apiVersion: "v1", kind: "Pod", metadata: { name: "p" } },
      ref: { group: "", kind: "Pod", namespace: "x", name: "p" },
      positionOf: () => undefined,
    }),
    undefined,
  );
});

test("a misspelt mode is told of every kind that has one", () => {
  const metadata = {
    name: "p",
    namespace: "x",
    annotations: { "bpfleet.io/mode": "shadov", "bpfleet.io/on-revoke": "kept" },
  };
  const firewall = { l4Firewall: { enabled: true, defaultAction: "block" } };
  for (const [apiVersion, kind, spec] of [
    ["networking.k8s.io/v1", "NetworkPolicy", {}],
    ["networking.fos1.io/v1alpha1", "EBPFNetworkPolicy", { policyType: "filtering" }],
    ["networking.fos1.io/v1alpha1", "EBPFContainerPolicy", { selector: { podSelector: {} } }],
    ["podconfig.example.com/v1alpha1", "PodConfigMapConfig", { ebpfConfig: firewall }],
  ] as const) {
    const result = findKind(apiVersion, kind)?.parse({ apiVersion, kind, metadata, spec });
    assert.ok(result?.ok);
    const codes = result.issues.filter(({ path }) => path.startsWith("/metadata/annotations/")).map(({ code }) => code);
    assert.deepEqual(codes, ["policy", "policy"], kind);
  }
});
