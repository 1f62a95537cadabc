import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { apiVersionOf, findKind, kinds, parseManifest } from "@bpfleet/kinds";
import type { DefinedKind } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { connectKube, fixedCredentials } from "@bpfleet/kube-client";
import { StatusWriter } from "@bpfleet/operator";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer } from "./api-server.ts";
import type { ApiServer } from "./api-server.ts";
import { installCrds } from "./install-crds.ts";

const root = join(import.meta.dirname, "../..");
const skip = whyNoBuild();
const policyKinds = kinds.filter(({ group }) => group === "cilium.io" || group === "networking.k8s.io");
let server: ApiServer | undefined;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  await installCrds(server, policyKinds);
});

after(() => server?.[Symbol.asyncDispose]());

function api(): ApiServer {
  return server ?? assert.fail("the API server does not run");
}

function pathOf(kind: DefinedKind): string {
  return `/apis/${apiVersionOf(kind)}/${kind.scope === "Cluster" ? "" : "namespaces/default/"}${kind.plural}`;
}

function kindOf(name: string): DefinedKind {
  return policyKinds.find(({ kind }) => kind === name) ?? assert.fail(name);
}

interface Body {
  readonly spec?: unknown;
  readonly specs?: unknown;
}

/** What the API server makes of an object beside what we make of it. */
async function compare(kind: DefinedKind, body: Body, only: (code: string) => boolean): Promise<void> {
  const object = {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    metadata: { name: "p", ...(kind.scope === "Cluster" ? {} : { namespace: "default" }) },
    ...body,
  };
  const answer = await api().call("POST", `${pathOf(kind)}?dryRun=All&fieldValidation=Ignore`, object);
  const parsed = kind.parse(object);
  const errors = parsed.issues.filter(({ severity, code }) => severity === "error" && !only(code));
  const told = `${JSON.stringify(body)}\nAPI server: ${answer.status} ${String(answer.body["message"])}\nours: ${errors.map(({ message }) => message).join("; ")}`;
  assert.equal(answer.status === 201, errors.length === 0, told);
  if (answer.status !== 201 || !parsed.ok) return;
  const { spec, specs } = parsed.value.object as Body;
  assert.deepEqual({ spec: answer.body["spec"], specs: answer.body["specs"] }, { spec, specs }, told);
}

test("CRDs of policies are structural, and carry the names of Cilium's", { skip }, async () => {
  for (const name of ["ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"]) {
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}.cilium.io`;
    const { body } = await api().call("GET", path);
    const { conditions } = body["status"] as {
      conditions: readonly { type: string; status: string; message: string }[];
    };
    const faulty = conditions.filter(({ type, status }) => type === "NonStructuralSchema" || status !== "True");
    assert.deepEqual(faulty, [], name);
  }
  for (const name of ["cnp", "ciliumnp", "ciliumnetworkpolicies.cilium.io", "ccnp", "netpol"])
    assert.equal(api().kubectl(["get", name, "-o", "name"]), "");
});

test("CRDs of policies take every sample with strict validation, and give it back as we read it", { skip }, () => {
  for (const kind of policyKinds) {
    const folder = `packages/kinds/src/${kind.group}/${kind.singular}/samples`;
    for (const file of globSync(`${folder}/*.yaml`, { cwd: root })) {
      api().kubectl(["apply", "--validate=strict", "-f", join(root, file)]);
      const written = parseManifest(readFileSync(join(root, file), "utf8"), file).objects[0]?.value;
      const { metadata } = written as { metadata: { name: string } };
      const kept = JSON.parse(api().kubectl(["get", kind.plural, metadata.name, "-o", "json"])) as Body;
      const parsed = kind.parse(kept);
      assert.ok(parsed.ok, JSON.stringify(parsed.issues));
      const { spec, specs } = parsed.value.object as Body;
      assert.deepEqual({ spec, specs }, { spec: kept.spec, specs: kept.specs }, file);
    }
  }
  assert.match(api().kubectl(["get", "cnp"]), /NAME +AGE +VALID +READY\n/);
});

test("CRDs of policies keep the status that a policy gets", { skip }, async () => {
  const condition = {
    type: "Valid",
    status: "True",
    reason: "Valid",
    message: "m",
    lastTransitionTime: "2026-01-01T00:00:00Z",
  };
  const apply = await api().call(
    "PATCH",
    `${pathOf(kindOf("CiliumNetworkPolicy"))}/api-server-protection/status?fieldManager=agent&force=true`,
    {
      apiVersion: "cilium.io/v2",
      kind: "CiliumNetworkPolicy",
      metadata: { name: "api-server-protection", namespace: "default" },
      status: { node: "n", observedGeneration: 1, conditions: [condition], lastUpdated: "2026-01-01T00:00:00Z" },
    },
    { "content-type": "application/apply-patch+yaml" },
  );
  assert.equal(apply.status, 200, String(apply.body["message"]));
  assert.match(api().kubectl(["get", "cnp", "api-server-protection"]), /api-server-protection +\S+ +True/);
});

/** The CRD with a status as Cilium's own has it. */
function withNarrowStatus(kind: DefinedKind): unknown {
  const crd = structuredClone(kind.crd()) as {
    spec: { versions: [{ schema: { openAPIV3Schema: { properties: { status: { properties: Properties } } } } }] };
  };
  const { status } = crd.spec.versions[0].schema.openAPIV3Schema.properties;
  const { conditions } = status.properties;
  delete conditions.items.properties["observedGeneration"];
  status.properties = { conditions };
  return crd;
}

interface Properties {
  readonly conditions: { readonly items: { readonly properties: Record<string, unknown> } };
}

test("StatusWriter leaves out what Cilium's own CRD has no place for", { skip }, async () => {
  const kind = kindOf("CiliumClusterwideNetworkPolicy");
  const name = "secure-core-services";
  api().kubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(withNarrowStatus(kind)));
  const probe = { apiVersion: "cilium.io/v2", kind: kind.kind, metadata: { name }, status: { observedGeneration: 1 } };
  const path = `${pathOf(kind)}/${name}/status?fieldManager=probe&dryRun=All`;
  const ssa = { "content-type": "application/apply-patch+yaml" };
  for (const end = performance.now() + 30_000; (await api().call("PATCH", path, probe, ssa)).status !== 500;)
    assert.ok(performance.now() < end, "the changed CRD is not served");

  const config = readFileSync(api().kubeconfig, "utf8");
  const unpack = (field: string): string =>
    Buffer.from(new RegExp(`"${field}":"([^"]+)"`).exec(config)?.[1] ?? "", "base64").toString();
  const certificate = { cert: unpack("client-certificate-data"), key: unpack("client-key-data") };
  await using client = connectKube({
    server: api().url,
    namespace: "default",
    tls: { ca: unpack("certificate-authority-data") },
    credentials: fixedCredentials({ certificate }),
  });
  let writes = 0;
  const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
  const writer = new StatusWriter({ client, clock, onWrite: () => writes++, onRefused: assert.fail });
  const type = { group: kind.group, version: kind.version, plural: kind.plural };
  const condition = { type: "Ready", status: "False" as const, reason: "NotServed", message: "m" };
  const result = { nodeName: "n", state: "NotServed" as const, conditions: [condition], numbers: {} };
  const outcome = { results: [result], silentNodes: [] };
  const write = async (): Promise<boolean> => {
    const live = await client.get<AnyObject>({ ...type, name });
    return writer.write(kind, type, live, outcome, AbortSignal.timeout(30_000));
  };
  assert.equal(await write(), true);
  assert.equal(await write(), false);
  assert.equal(writes, 1);
  const { status } = await client.get<AnyObject & { status: { conditions: readonly object[] } }>({ ...type, name });
  assert.deepEqual(Object.keys(status), ["conditions"]);
  assert.deepEqual(
    status.conditions.map((each) => ({ ...each, lastTransitionTime: "" })),
    [{ ...condition, lastTransitionTime: "" }],
  );
});

test("CRDs of policies and parse agree on who must say what", { skip }, async () => {
  const kind = kindOf("CiliumNetworkPolicy");
  const rule = { endpointSelector: {}, ingress: [{}] };
  const bodies: readonly Body[] = [
    {},
    { spec: rule },
    { specs: [rule] },
    { spec: rule, specs: [rule, rule] },
    { specs: [{ ...rule, ingress: {} }] },
    { spec: null, specs: [rule] },
    { spec: { ...rule, options: { xdp: true } } },
    { spec: { ...rule, egress: [{ toPorts: [{ ports: [{ port: "80", protocol: "tcp" }] }] }] } },
    { spec: { ...rule, egress: [{ toPorts: [{ ports: [{ port: 80 }] }] }] } },
    { spec: { ...rule, egress: [{ toPorts: [{ ports: Array.from({ length: 41 }, () => ({ port: "1" })) }] }] } },
    { spec: { ...rule, egress: [{ toFQDNs: [{ matchName: "*.x" }] }] } },
    { spec: { ...rule, egress: [{ toFQDNs: [{ matchName: "x.y." }, { matchPattern: "**.x" }] }] } },
    { spec: { ...rule, ingress: [{ icmps: [{ fields: [{ type: "EchoRequest" }, { type: 8, family: "IPv6" }] }] }] } },
    { spec: { ...rule, ingress: [{ icmps: [{ fields: [{ type: 1.5 }] }] }] } },
    { spec: { ...rule, ingress: [{ fromEntities: ["internet"] }] } },
    { spec: { ...rule, ingress: [{ fromRequires: [{}] }] } },
    { spec: { ...rule, ingress: [{ toCIDR: [] }] } },
    { spec: { ...rule, ingress: [{ toCIDR: ["10.0.0.0/8"] }] } },
    { spec: { ...rule, ingress: [{ authentication: { mode: "never" } }] } },
    { spec: { ...rule, ingress: [{ toPorts: [{ rules: { http: [{ headers: [{ name: "X", secret: {} }] }] } }] }] } },
    { spec: { ...rule, log: { value: "é" } } },
    { spec: { ...rule, labels: [{ value: "x" }] } },
    { spec: { ...rule, enableDefaultDeny: { ingress: "true" } } },
  ];
  for (const body of bodies) await compare(kind, body, (code) => code === "policy");
});

test("CRDs of policies and parse decide alike on any CiliumNetworkPolicy", { skip }, async () => {
  const pick = (...values: readonly unknown[]): fc.Arbitrary<unknown> => fc.constantFrom(...values);
  const some = (fields: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<unknown> =>
    fc.record(fields, { requiredKeys: [] });
  const listOf = (item: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
    fc.oneof(
      { weight: 12, arbitrary: fc.array(item, { maxLength: 2 }) },
      { weight: 1, arbitrary: pick(null, {}, "x") },
    );
  const selector = some({
    matchLabels: fc.dictionary(pick("a", "k8s:b") as fc.Arbitrary<string>, pick("x", "", "-", 1), { maxKeys: 2 }),
    matchExpressions: listOf(
      some({ key: pick("a", ""), operator: pick("In", "NotIn", "Exists", "in"), values: fc.array(pick("x", "a b")) }),
    ),
  });
  const name = some({ matchName: pick("x.y", "*.x", ""), matchPattern: pick("*.x", "a b") });
  const toPorts = listOf(
    some({
      ports: listOf(
        some({
          port: pick("80", "0", "http", 80, ""),
          endPort: pick(90, -1, 65536),
          protocol: pick("TCP", "ANY", "GRE", "x"),
        }),
      ),
      rules: some({ dns: listOf(name), http: listOf(pick({}, { path: "/" }, "x")), l7proto: pick("x", 1) }),
      serverNames: listOf(pick("x", 1)),
      listener: some({ name: pick("l"), priority: pick(1, 101) }),
    }),
  );
  const cidrs = listOf(pick("10.0.0.0/8", "x", "", 5));
  const sets = listOf(some({ cidr: pick("10.0.0.0/8", ""), cidrGroupRef: pick("g"), except: cidrs }));
  const common = {
    toPorts,
    icmps: listOf(some({ fields: listOf(some({ family: pick("IPv4", "IPv6", "x"), type: pick(8, "x", 1.5, null) })) })),
    authentication: some({ mode: pick("required", "x") }),
    toBandwidth: some({ rate: pick("5M", 5, 1.5), bitsPerSecond: pick(1, 0) }),
    description: pick("x", 1),
    surplus: pick(1),
  };
  const ingress = some({
    ...common,
    fromEndpoints: listOf(selector),
    fromCIDR: cidrs,
    fromCIDRSet: sets,
    fromEntities: listOf(pick("world", "x")),
    fromRequires: listOf(selector),
    toCIDR: cidrs,
  });
  const egress = some({
    ...common,
    toEndpoints: listOf(selector),
    toFQDNs: listOf(name),
    toServices: listOf(some({ k8sService: some({ serviceName: pick("x") }), k8sServiceSelector: some({ selector }) })),
    toNodes: listOf(selector),
    toGroups: listOf(some({ aws: some({ region: pick("x", 1) }) })),
  });
  const rule = some({
    endpointSelector: selector,
    ingress: listOf(ingress),
    ingressDeny: listOf(ingress),
    egress: listOf(egress),
    egressDeny: listOf(egress),
    enableDefaultDeny: some({ ingress: pick(true, "true", null) }),
    labels: listOf(some({ key: pick("a", ""), value: pick("b", 1) })),
    options: fc.dictionary(pick("xdp") as fc.Arbitrary<string>, pick("true", true)),
    description: pick("d", 1),
  });
  const body = some({ spec: rule, specs: listOf(rule) }) as fc.Arbitrary<Body>;
  await fc.assert(
    fc.asyncProperty(body, (value) => compare(kindOf("CiliumNetworkPolicy"), value, (code) => code === "policy")),
    { numRuns: 500 },
  );
});

test(
  "parse and the API server decide alike on NetworkPolicies, of which Kubernetes has the definition",
  { skip },
  async () => {
    const kind = findKind("networking.k8s.io/v1", "NetworkPolicy") ?? assert.fail();
    const specs: readonly unknown[] = [
      { podSelector: {} },
      { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
      { podSelector: {}, policyTypes: ["ingress"] },
      { podSelector: {}, ingress: [{}] },
      { podSelector: {}, ingress: [{ from: [], ports: [] }] },
      { podSelector: {}, ingress: [{ from: [{}] }] },
      { podSelector: {}, ingress: [{ from: [{ podSelector: {}, namespaceSelector: {} }] }] },
      { podSelector: {}, ingress: [{ from: [{ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }] }] },
      { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.1" } }] }] },
      { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }] }] },
      { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.0/8"] } }] }] },
      { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["11.0.0.0/9"] } }] }] },
      { podSelector: {}, ingress: [{ ports: [{ port: 80 }, { protocol: "UDP" }, { port: "http" }] }] },
      { podSelector: {}, ingress: [{ ports: [{ port: 0 }] }] },
      { podSelector: {}, ingress: [{ ports: [{ port: 65536 }] }] },
      { podSelector: {}, ingress: [{ ports: [{ port: "80" }] }] },
      { podSelector: {}, ingress: [{ ports: [{ port: "UPPER" }] }] },
      { podSelector: {}, ingress: [{ ports: [{ port: "a--b" }] }] },
      { podSelector: {}, ingress: [{ ports: [{ port: 80, endPort: 90 }] }] },
      { podSelector: {}, ingress: [{ ports: [{ port: 80, endPort: 79 }] }] },
      { podSelector: {}, ingress: [{ ports: [{ port: "http", endPort: 90 }] }] },
      { podSelector: {}, ingress: [{ ports: [{ endPort: 90 }] }] },
      { podSelector: {}, ingress: [{ ports: [{ protocol: "ICMP", port: 1 }] }] },
      { podSelector: { matchExpressions: [{ key: "a", operator: "In" }] } },
      { podSelector: { matchLabels: { a: "x y" } } },
    ];
    for (const spec of specs) {
      const object = { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "p" }, spec };
      const answer = await api().call("POST", `${pathOf(kind)}?dryRun=All`, object);
      const told = `${JSON.stringify(spec)}: ${answer.status} ${String(answer.body["message"])}`;
      assert.equal(kind.parse(object).ok, answer.status === 201, told);
    }
  },
);
