import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { apiVersionOf, emptyView, kinds, type DefinedKind, type LintPod, type LintView } from "@bpfleet/kinds";
import type { AdmissionAnswer } from "./admission-review.ts";
import { reviewAdmission, type AdmissionContext } from "./review-admission.ts";

const pods: readonly LintPod[] = [
  { name: "web-1", namespace: "default", labels: { app: "web" } },
  { name: "ledger-1", namespace: "shop", labels: { app: "ledger" }, namespaceLabels: { team: "shop" } },
];
const view: LintView = {
  findPods: (isMeant, most) => pods.filter(isMeant).slice(0, most),
  findNodes: (isMeant) => (isMeant({ labels: { role: "edge" } }) ? ["edge-1"] : []),
  ownAddresses: [
    { address: "172.16.0.1", owner: "node worker-1" },
    { address: "10.96.0.1", owner: "the API server" },
    { address: "2001:db8::1", owner: "node worker-1" },
  ],
};
const context: AdmissionContext = { kinds, view, ownUsers: ["system:serviceaccount:other:agent"] };

interface Change {
  readonly operation?: string;
  readonly oldObject?: unknown;
  readonly subResource?: string;
  readonly user?: string;
  readonly metadata?: object;
}

function kindOf(name: string): DefinedKind {
  return kinds.find(({ kind }) => kind === name) ?? assert.fail(name);
}

function reviewOf(name: string, body: object, change: Change = {}): object {
  const kind = kindOf(name);
  const { group, version, scope } = kind;
  const metadata = { name: "x", ...(scope === "Cluster" ? {} : { namespace: "default" }), ...change.metadata };
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: "u-1",
      kind: { group, version, kind: name },
      name: "x",
      ...(scope === "Cluster" ? {} : { namespace: "default" }),
      operation: change.operation ?? "CREATE",
      ...(change.subResource === undefined ? {} : { subResource: change.subResource }),
      userInfo: { username: change.user ?? "kubernetes-admin" },
      object: { apiVersion: apiVersionOf(kind), kind: name, metadata, ...body },
      ...(change.oldObject === undefined ? {} : { oldObject: change.oldObject }),
    },
  };
}

function responseOf(review: unknown, by: AdmissionContext = context): AdmissionAnswer["response"] {
  const answer = reviewAdmission(review, by);
  assert.ok(typeof answer !== "string", String(answer));
  return answer.response;
}

function warningsOf(name: string, body: object, by: AdmissionContext = context): readonly string[] {
  const { allowed, warnings = [], status } = responseOf(reviewOf(name, body), by);
  assert.ok(allowed, status?.message);
  return warnings;
}

const web = { endpointSelector: { matchLabels: { app: "web" } } };

test("reviewAdmission refuses with every mistake, its path and its reason", () => {
  const { allowed, status, uid } = responseOf(
    reviewOf("EBPFProgram", {
      spec: { type: "xpd", priority: -1, settings: { blacklist: { enabled: true, ips: ["x"] } } },
    }),
  );
  assert.deepEqual([uid, allowed, status?.code, status?.reason], ["u-1", false, 422, "Invalid"]);
  assert.deepEqual(
    status?.details.causes.map(({ field, reason }) => [field, reason]),
    [
      ["spec.type", "FieldValueNotSupported"],
      ["spec.priority", "FieldValueInvalid"],
      ["spec.settings.blacklist.ips[0]", "FieldValueInvalid"],
    ],
  );
  assert.deepEqual(
    [status?.details.kind, status?.details.group, status?.details.name],
    ["EBPFProgram", "networking.fos1.io", "x"],
  );
  assert.equal(status?.message, status?.details.causes.map(({ message }) => message).join("; "));
});

test("reviewAdmission bounds what it says", () => {
  const ips = Array.from({ length: 5000 }, (_, index) => `not an address ${index}`);
  const spec = { type: "xdp", interface: "eth0", settings: { blacklist: { enabled: true, ips } } };
  const { status } = responseOf(reviewOf("EBPFProgram", { spec }));
  assert.equal(status?.details.causes.length, 100);
  assert.match(status?.message ?? "", /; and 4900 more$/);
  const doubled = { ...spec, settings: { blacklist: { enabled: true, ips: ips.map(() => "10.0.0.1") } } };
  const warnings = warningsOf("EBPFProgram", { spec: doubled });
  assert.ok(warnings.join("").length <= 4096);
  assert.match(warnings.at(-1) ?? "", /^and 4\d\d\d more$/);
  const endless = { endpointSelector: { matchLabels: { ["a ".repeat(500_000)]: "x" } }, ingress: [{}] };
  assert.ok(JSON.stringify(responseOf(reviewOf("CiliumNetworkPolicy", { spec: endless }))).length < 10_000);
});

test("reviewAdmission admits what is no new declaration", () => {
  const broken = { spec: { type: "xpd" } };
  const object = (metadata: object): object => ({ metadata: { name: "x", ...metadata }, ...broken });
  assert.equal(responseOf(reviewOf("EBPFProgram", broken)).allowed, false);
  for (const change of [
    { operation: "DELETE" },
    { operation: "CONNECT" },
    { operation: "UPDATE", subResource: "status" },
    { operation: "UPDATE", subResource: "scale" },
    { operation: "UPDATE", oldObject: object({ labels: { a: "b" }, finalizers: ["f"] }) },
    { operation: "UPDATE", oldObject: object({}), metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } },
  ])
    assert.equal(responseOf(reviewOf("EBPFProgram", broken, change)).allowed, true, JSON.stringify(change));
  const changed = { operation: "UPDATE", oldObject: { metadata: {}, spec: { type: "xdp", interface: "eth0" } } };
  assert.equal(responseOf(reviewOf("EBPFProgram", broken, changed)).allowed, false);
  const unknown = reviewOf("EBPFProgram", broken) as { request: { kind: { group: string } } };
  unknown.request.kind.group = "example.com";
  assert.equal(responseOf(unknown).allowed, true);
  const kept = responseOf(reviewOf("EBPFProgram", broken, { operation: "UPDATE", oldObject: object({}) }));
  assert.match(kept.warnings?.join() ?? "", /EBPFProgram default\/x: spec\.type: must be one of/);
});

test("reviewAdmission tells those who write into made objects, and not our own processes", () => {
  const body = { spec: { programs: {} } };
  const told = (user: string): readonly string[] | undefined =>
    responseOf(reviewOf("BpfProgram", body, { user })).warnings;
  assert.deepEqual(told("kubernetes-admin"), [
    "BpfProgram x: is made from a BpfProgramConfig, and what others write into it is undone; change that instead",
  ]);
  for (const user of [
    "system:serviceaccount:kube-system:bpfd-daemon",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:kube-controller-manager",
    "system:serviceaccount:other:agent",
  ])
    assert.equal(told(user), undefined, user);
});

test("reviewAdmission leaves to the API server what its CRD says: fields that are dropped, kinds that are deprecated", () => {
  const spec = { policyType: "filtering", egress: [{ action: "deny" }] };
  const program = { type: "xdp", interface: "eth0", surplus: 1 };
  for (const review of [reviewOf("EBPFNetworkPolicy", { spec }), reviewOf("EBPFProgram", { spec: program })]) {
    const { allowed, warnings = [] } = responseOf(review);
    assert.equal(allowed, true);
    assert.doesNotMatch(warnings.join("\n"), /deprecated|surplus/);
  }
});

test("reviewAdmission refuses a policy with a field that nobody knows, and warns where the field is in a rule", () => {
  const allowing = { spec: { ...web, ingress: [{ fromEndpoints: [{}], x: 1 }] } };
  assert.match(warningsOf("CiliumNetworkPolicy", allowing).join(), /ingress\[0\]\.x: unknown field, so nothing passes/);
  const unfit = reviewOf("CiliumNetworkPolicy", { spec: { ...web, ingress: [{}], x: 1 } });
  assert.equal(responseOf(unfit).allowed, false);
});

test("reviewAdmission warns of selectors that find nothing, where it can look", () => {
  const none = { matchLabels: { app: "none" } };
  assert.deepEqual(warningsOf("CiliumNetworkPolicy", { spec: { ...web, ingress: [{ fromEndpoints: [none] }] } }), [
    "CiliumNetworkPolicy default/x: spec.ingress[0].fromEndpoints[0]: selects no pod that is there now",
  ]);
  assert.deepEqual(warningsOf("CiliumNetworkPolicy", { spec: { endpointSelector: none, ingress: [{}] } }), [
    "CiliumNetworkPolicy default/x: spec.endpointSelector: selects no pod that is there now",
  ]);
  assert.deepEqual(
    warningsOf("NetworkPolicy", {
      spec: {
        podSelector: { matchLabels: { app: "web" } },
        ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: "shop" } } }, { podSelector: none }] }],
      },
    }),
    ["NetworkPolicy default/x: spec.ingress[0].from[1]: selects no pod that is there now"],
  );
  const config = (nodeselector: object): object => ({
    spec: {
      name: "pass",
      type: "XDP",
      nodeselector,
      attachpoint: { networkmultiattach: { interface: "eth0", priority: 0 } },
      bytecode: "image://quay.io/bpfd-bytecode/xdp_pass:latest",
    },
  });
  assert.deepEqual(warningsOf("BpfProgramConfig", config({ matchLabels: { role: "x" } })), [
    "BpfProgramConfig x: spec.nodeselector: selects no node that is there now",
  ]);
  assert.deepEqual(warningsOf("BpfProgramConfig", config({ matchLabels: { role: "edge" } })), []);
  assert.deepEqual(
    warningsOf("BpfProgramConfig", config({ matchLabels: { role: "x" } }), { ...context, view: emptyView }),
    [],
  );
});

test("reviewAdmission warns of what would lock nodes out", () => {
  const list = (type: string, ips: readonly string[], enabled = true): object => ({
    spec: { type, interface: "eth0", settings: { blacklist: { enabled, ips } } },
  });
  assert.deepEqual(warningsOf("EBPFProgram", list("xdp", ["192.0.2.0/24", "172.16.0.0/12", "2001:db8::/32"])), [
    "EBPFProgram default/x: spec.settings.blacklist.ips[1]: 172.16.0.0/12 covers 172.16.0.1, node worker-1; it would be locked out",
    "EBPFProgram default/x: spec.settings.blacklist.ips[2]: 2001:db8::/32 covers 2001:db8::1, node worker-1; it would be locked out",
  ]);
  assert.match(
    warningsOf("EBPFProgram", list("tc-egress", ["0.0.0.0/0"])).join(),
    /0\.0\.0\.0\/0 is every address there is/,
  );
  assert.match(
    warningsOf("EBPFProgram", list("xdp", ["128.0.0.0/1", "0.0.0.0/1"])).join(),
    /ips\[0\]: 128\.0\.0\.0\/1 covers 172\.16\.0\.1.*ips\[1\]: 0\.0\.0\.0\/1 covers 10\.96\.0\.1, the API server/,
  );
  const map = (initData: readonly object[], accessedBy?: readonly string[]): object => ({
    spec: { type: "lpm_trie", maxEntries: 8, keySize: 8, valueSize: 4, initData, ...(accessedBy && { accessedBy }) },
  });
  const entries = [
    { key: "0xac100000/16", value: 1 },
    { key: "10.96.0.0/16", value: "0x00000001" },
    { key: "172.16.0.1", value: 0 },
  ];
  assert.deepEqual(warningsOf("EBPFMap", map(entries, ["filter"])), [
    "EBPFMap default/x: spec.initData[0].key: 172.16.0.0/16 covers 172.16.0.1, node worker-1; it would be locked out",
    "EBPFMap default/x: spec.initData[1].key: 10.96.0.0/16 covers 10.96.0.1, the API server; it would be locked out",
  ]);
  assert.deepEqual(warningsOf("EBPFMap", map(entries)), []);
  const closed = { nodeSelector: { matchLabels: { role: "edge" } }, ingress: [{ fromEndpoints: [] }] };
  assert.match(
    warningsOf("CiliumClusterwideNetworkPolicy", { spec: closed }).join("\n"),
    /^CiliumClusterwideNetworkPolicy x: spec\.ingress: denies whatever else comes to the selected nodes.*SSH \(22\), the API server \(6443\), the kubelet \(10250\)/m,
  );
});

test("reviewAdmission judges the longest list beside the largest cluster before the API server stops waiting", () => {
  const address = (index: number, first: number): string =>
    `${first}.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
  const ips = Array.from({ length: 100_000 }, (_, index) =>
    index % 2 === 0 ? address(index, 11) : `${address(index, 12)}/31`,
  );
  const ownAddresses = Array.from({ length: 5000 }, (_, index) => ({
    address: address(index, 11),
    owner: `node ${index}`,
  }));
  const review = reviewOf("EBPFProgram", {
    spec: { type: "xdp", interface: "eth0", settings: { blacklist: { enabled: true, ips } } },
  });
  const begin = process.cpuUsage();
  const { allowed, warnings = [] } = responseOf(review, { ...context, view: { ...view, ownAddresses } });
  const { user, system } = process.cpuUsage(begin);
  assert.ok(user + system < 4_000_000, `it took ${user + system} µs`);
  assert.ok(allowed);
  assert.match(warnings.join("\n"), /ips\[0\]: 11\.0\.0\.0 covers 11\.0\.0\.0, node 0; it would be locked out/);
});

test("reviewAdmission says what is no review", () => {
  const valid = reviewOf("EBPFMap", {}) as { request: object };
  const cases: readonly unknown[] = [
    null,
    [],
    {},
    { kind: "AdmissionReview" },
    { ...valid, apiVersion: "admission.k8s.io/v1beta1" },
    { ...valid, request: null },
    { ...valid, request: { ...valid.request, uid: 5 } },
    { ...valid, request: { ...valid.request, kind: "x" } },
  ];
  for (const review of cases) assert.equal(typeof reviewAdmission(review, context), "string");
});

test("reviewAdmission never throws, and never refuses what a kind takes", () => {
  const names = [
    "metadata",
    "spec",
    "specs",
    "type",
    "interface",
    "settings",
    "blacklist",
    "ips",
    "enabled",
    "name",
    "initData",
  ];
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom("xdp", "eth0", "10.0.0.0/8", "lpm_trie", 1, null, true, ""),
      fc.array(tie("tree"), { maxLength: 2 }),
      fc.dictionary(fc.constantFrom(...names), tie("tree"), { maxKeys: 4 }),
    ),
  }));
  const judged = kinds.filter(({ group }) => group !== "");
  fc.assert(
    fc.property(
      fc.constantFrom(...judged),
      tree,
      tree,
      fc.constantFrom("CREATE", "UPDATE"),
      (kind, spec, old, operation) => {
        const review = reviewOf(kind.kind, { spec }, { operation, oldObject: old });
        const { allowed } = responseOf(review);
        const { object } = (review as { request: { object: unknown } }).request;
        if (kind.parse(object).ok) assert.equal(allowed, true);
      },
    ),
    { numRuns: 2000 },
  );
});
