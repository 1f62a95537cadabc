import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { apiVersionOf, kinds, parseManifest, renderYaml } from "@bpfleet/kinds";
import type { DefinedKind, KubeObject } from "@bpfleet/kinds";
import { ownGroups } from "@bpfleet/operator/desired";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer } from "./api-server.ts";
import type { Answer, ApiServer } from "./api-server.ts";
import { configSpecs, mapSpecs, programSpecs } from "./specs.ts";

const root = join(import.meta.dirname, "../..");
const skip = whyNoBuild();
const served = kinds.filter((kind) => kind.crd() !== undefined);
let server: ApiServer | undefined;

if (skip !== undefined) console.log(`the tests against a real API server are skipped: ${skip}`);

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  server.kubectl(["apply", "--server-side", "-k", join(root, "manifests/base/ebpf")]);
  // The operator installs those of other owners where they are absent.
  for (const kind of served.filter(({ group }) => !ownGroups.includes(group)))
    server.kubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(kind.crd()));
  server.kubectl([
    "wait",
    "--for=condition=Established",
    "--timeout=30s",
    ...served.map((kind) => `crd/${kind.plural}.${kind.group}`),
  ]);
});

after(() => server?.[Symbol.asyncDispose]());

function api(): ApiServer {
  if (server === undefined) throw new Error("the API server does not run");
  return server;
}

function kindOf(name: string): DefinedKind {
  const kind = served.find((each) => each.kind === name);
  if (kind === undefined) throw new RangeError(`no kind ${name}`);
  return kind;
}

function pathOf(kind: DefinedKind, rest = ""): string {
  const where = kind.scope === "Cluster" ? "" : "namespaces/default/";
  return `/apis/${kind.group}/${kind.version}/${where}${kind.plural}${rest}`;
}

function objectOf(kind: DefinedKind, spec: unknown, name = "test"): KubeObject {
  return { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata: metadataOf(kind, name), spec };
}

function metadataOf(kind: DefinedKind, name: string): KubeObject["metadata"] {
  return kind.scope === "Cluster" ? { name } : { name, namespace: "default" };
}

/** What the API server would do with an object; nothing is kept. */
function dryRun(kind: DefinedKind, object: unknown): Promise<Answer> {
  return api().call("POST", pathOf(kind, "?dryRun=All&fieldValidation=Ignore"), object);
}

/** Fields that the answer finds fault with, as `spec.interface`; `<nil>` only says that CEL was not reached. */
function faultyFields(answer: Answer): readonly string[] {
  const details = answer.body["details"] as { causes?: readonly { field: string }[] } | undefined;
  return [...new Set((details?.causes ?? []).map(({ field }) => field))]
    .filter((field) => field !== "<nil>")
    .toSorted();
}

/** Checks that both decide alike, on the same fields; `undefined` where only we look, because of `ours`. */
async function compare(kind: DefinedKind, spec: unknown, ours: ReadonlySet<string>): Promise<void> {
  const object = objectOf(kind, spec);
  const answer = await dryRun(kind, object);
  const parsed = kind.parse(object);
  const errors = parsed.issues.filter((issue) => issue.severity === "error" && !ours.has(issue.code));
  const told = `${JSON.stringify(spec)}\nAPI server: ${answer.status} ${String(answer.body["message"])}\nours: ${errors.map((issue) => issue.message).join("; ")}`;
  assert.equal(answer.status === 201, errors.length === 0, told);
  if (answer.status === 201) {
    if (parsed.ok) assert.deepEqual(parsed.value.object.spec, answer.body["spec"], told);
    return;
  }
  assert.equal(answer.status, 422, told);
  for (const field of faultyFields(answer)) {
    assert.ok(
      errors.some((issue) => sameField(issue.path, field)),
      `${field} is not among ours\n${told}`,
    );
  }
}

/** The API server stops at the object where a field is missing or an item of a set is doubled. */
function sameField(pointer: string, field: string): boolean {
  const path = pointer
    .slice(1)
    .replaceAll(/\/(\d+)(?=\/|$)/g, "[$1]")
    .replaceAll("/", ".");
  return path === field || path.startsWith(`${field}.`) || path.startsWith(`${field}[`) || field.startsWith(`${path}[`);
}

test("CRDs are accepted as structural, with their short names, columns and status", { skip }, async () => {
  for (const kind of served) {
    const { body } = await api().call(
      "GET",
      `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${kind.plural}.${kind.group}`,
    );
    const { conditions } = body["status"] as {
      conditions: readonly { type: string; status: string; message: string }[];
    };
    const byType = Object.fromEntries(conditions.map(({ type, status, message }) => [type, `${status} ${message}`]));
    assert.match(byType["NamesAccepted"] ?? "", /^True/);
    assert.match(byType["Established"] ?? "", /^True/);
    assert.equal(byType["NonStructuralSchema"], undefined);
    const strict = await api().call(
      "POST",
      "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All&fieldValidation=Strict",
      { ...(kind.crd() as object), metadata: { name: `other${kind.plural}.${kind.group}` } },
    );
    assert.equal(
      faultyFields(strict).every((field) => field === "metadata.name" || field.startsWith("spec.names")),
      true,
      String(strict.body["message"]),
    );
  }
});

/** A sample of an object that is made: what the API server gives is left out. */
function withoutVersions(file: string): string {
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  return lines.filter((line) => !/^  (resourceVersion|uid|generation|creationTimestamp):/.test(line)).join("\n");
}

test("CRDs and samples apply with kubectl as the guides say, and come back by every name", { skip }, () => {
  for (const kind of served) {
    for (const file of globSync(`packages/kinds/src/${kind.group}/${kind.singular}/samples/*.yaml`, { cwd: root })) {
      if (kind.madeFrom === undefined)
        assert.match(api().kubectl(["apply", "--validate=strict", "-f", join(root, file)]), /created\n$/);
      else assert.match(api().kubectl(["create", "--validate=strict", "-f", "-"], withoutVersions(file)), /created\n$/);
    }
  }
  const names = ["ebpf", "ebpfprogram", "ebpfprograms.networking.fos1.io", "EBPFProgram"];
  for (const name of names) assert.match(api().kubectl(["get", name]), /xdp-packet-filter +xdp +eth0 /);
  assert.match(
    api().kubectl(["get", "bpfprogramconfigs"]),
    /NAME +TYPE +SECNAME +STATUS +INTERFACE +PRIORITY +DIRECTION +TRACEPOINT\n(.*\n)*tc-pass-all-nodes +TC +classifier +eth0 +0 +INGRESS/,
  );
  assert.match(
    api().kubectl(["get", "bpfprogramconfig", "xdp-pass-all-nodes"]),
    /\nxdp-pass-all-nodes +XDP +pass +eth0 +0/,
  );
  assert.match(
    api().kubectl(["get", "bpfdebpfprograms"]),
    /xdp-pass-all-nodes-bpfd-deployment-worker2 +xdp-pass-all-nodes +eth0/,
  );
  assert.match(api().kubectl(["get", "ebpfprograms"]), /xdp-packet-filter/);
  assert.match(api().kubectl(["get", "bpfleet", "-o", "name"]), /ebpfmap\.networking\.fos1\.io\/blacklist-map/);
  assert.match(
    api().kubectl(["explain", "ebpfprogram.spec.settings.rateLimiting.packetsPerSecond"]),
    /Packets that one source may send each second/,
  );
  for (const kind of served) {
    const list = JSON.parse(api().kubectl(["get", kind.plural, "-o", "json"])) as { items: readonly KubeObject[] };
    for (const item of list.items) {
      const parsed = kind.parse(item);
      assert.ok(parsed.ok && parsed.issues.length === 0, JSON.stringify(parsed.issues));
      assert.deepEqual(parsed.value.object.spec, item.spec);
    }
  }
});

test("CRDs print the columns of the kind, wide ones last", { skip }, async () => {
  for (const kind of served) {
    const { body } = await api().call("GET", pathOf(kind), undefined, {
      accept: "application/json;as=Table;v=v1;g=meta.k8s.io",
    });
    const columns = body["columnDefinitions"] as readonly { name: string; priority: number; description: string }[];
    assert.deepEqual(
      columns.slice(1).map(({ name, priority }) => [name, priority]),
      kind.columns.map(({ name, priority }) => [name, priority]),
    );
    const rows = body["rows"] as readonly { cells: readonly unknown[] }[];
    assert.ok(rows.length > 0 && rows.every((row) => row.cells.length === columns.length));
  }
});

test("CRDs keep the status that a kind writes, and keep it apart from the spec", { skip }, async () => {
  const statuses: Readonly<Record<string, object>> = {
    EBPFProgram: {
      state: "Failed",
      reason: "r",
      attachedTo: "eth0",
      mode: "native, inline",
      node: "n",
      metrics: {
        packetsPassed: 9007199254740991,
        bytesPassed: 0,
        packetsDropped: 3,
        bytesDropped: 1,
        reasons: [{ reason: "blacklist", packets: 3, bytes: 1 }],
        rules: [{ rule: "10.0.0.0/8", field: "f", packets: 3, bytes: 1 }],
        gauges: { flows: 4 },
        pods: [{ pod: "web", sent: { packets: 1, bytes: 2 }, gauges: { opened: 1 } }],
      },
    },
    EBPFMap: { state: "Created", pinPath: "/sys/fs/bpf/x", entryCount: 3, memoryUsage: 4096, node: "n" },
  };
  const condition = {
    type: "Ready",
    status: "False",
    reason: "X",
    message: "m",
    lastTransitionTime: "2026-01-01T00:00:00Z",
    observedGeneration: 1,
  };
  const names: Readonly<Record<string, string>> = {
    EBPFProgram: "xdp-packet-filter",
    EBPFMap: "blacklist-map",
    BpfProgramConfig: "xdp-pass-all-nodes",
    EbpfProgramConfig: "xdp-pass-all-nodes",
    BpfProgram: "xdp-pass-all-nodes-bpfd-deployment-worker2",
    EbpfProgram: "xdp-pass-all-nodes-bpfd-deployment-worker2",
  };
  for (const kind of served) {
    const name = names[kind.kind] ?? assert.fail(kind.kind);
    const { body: object } = await api().call("GET", pathOf(kind, `/${name}`));
    const own = statuses[kind.kind];
    const { observedGeneration: _, ...plain } = condition;
    const status =
      own === undefined
        ? { conditions: [{ ...plain, type: "NotYetLoaded" }, plain] }
        : { ...own, observedGeneration: 1, conditions: [condition], lastUpdated: "2026-01-01T00:00:00Z" };
    const changed =
      own !== undefined ? { description: "changed" } : kind.madeFrom === undefined ? { name: "x" } : { node: "x" };
    const answer = await api().call("PUT", pathOf(kind, `/${name}/status?fieldValidation=Strict`), {
      ...object,
      spec: { ...(object["spec"] as object), ...changed },
      status,
    });
    assert.equal(answer.status, 200, String(answer.body["message"]));
    assert.deepEqual(answer.body["status"], status);
    assert.deepEqual(answer.body["spec"], object["spec"]);
    const apply = await api().call(
      "PATCH",
      pathOf(kind, `/${name}/status?fieldManager=agent&force=true`),
      {
        ...objectOf(kind, undefined, name),
        status: own === undefined ? { conditions: [plain] } : { state: "Pending" },
      },
      { "content-type": "application/apply-patch+yaml" },
    );
    assert.equal(apply.status, 200, String(apply.body["message"]));
  }
});

test("CRDs and parse decide alike on specs written to break each rule", { skip }, async () => {
  for (const [spec, ...breaks] of programSpecs) {
    await compare(kindOf("EBPFProgram"), spec, new Set());
    assert.deepEqual(
      faultyFields(await dryRun(kindOf("EBPFProgram"), objectOf(kindOf("EBPFProgram"), spec))),
      breaks,
      JSON.stringify(spec),
    );
  }
  for (const [spec, ...breaks] of mapSpecs) {
    await compare(kindOf("EBPFMap"), spec, onlyOurs);
    assert.deepEqual(
      faultyFields(await dryRun(kindOf("EBPFMap"), objectOf(kindOf("EBPFMap"), spec))),
      breaks,
      JSON.stringify(spec),
    );
  }
});

test("CRDs and parse decide alike on every form of a program that people bring", { skip }, async () => {
  for (const name of ["BpfProgramConfig", "EbpfProgramConfig"]) {
    for (const [spec, ...breaks] of configSpecs) {
      const kind = kindOf(name);
      await compare(kind, spec, onlyOurs);
      assert.deepEqual(faultyFields(await dryRun(kind, objectOf(kind, spec))), breaks, JSON.stringify(spec));
    }
  }
});

test("CRDs and parse decide alike on any BpfProgramConfig", { skip }, async () => {
  const name = fc.constantFrom("eth0", "a/b", "a b", "", "f", 5);
  const number = fc.constantFrom(0, 1, 1000, 1001, -1, 1.5, "1", null);
  const pick = (...values: readonly unknown[]): fc.Arbitrary<unknown> => fc.constantFrom(...values);
  const some = (fields: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<unknown> =>
    fc.record(fields, { requiredKeys: [] });
  const selector = some({
    matchLabels: fc.dictionary(pick("a", "b") as fc.Arbitrary<string>, pick("x", "", "-", 1)),
    matchExpressions: fc.array(
      some({ key: pick("a", ""), operator: pick("In", "NotIn", "Exists", "in"), values: fc.array(pick("x", "a b")) }),
      { maxLength: 2 },
    ),
  });
  const attachpoint = some({
    interface: name,
    networkmultiattach: some({
      interface: name,
      interfaceselector: some({ interface: name, primarynodeinterface: pick(true, false, "true") }),
      priority: number,
      direction: pick("NONE", "INGRESS", "EGRESS", "ingress"),
      proceedon: fc.array(pick("PASS", "DROP", "PIPE", "X"), { maxLength: 3 }),
    }),
    singleattach: some({ name, binary: pick("/x", "x"), offset: number }),
    cgroup: some({ namespace: pick("prod", ""), podselector: selector, hook: pick("egress", "sysctl", "x") }),
  });
  const spec = some({
    name,
    type: pick(
      "XDP",
      "TC",
      "TRACEPOINT",
      "KPROBE",
      "UPROBE",
      "FENTRY",
      "CGROUP_SKB",
      "CGROUP_SYSCTL",
      "SOCKOPS",
      "xdp",
    ),
    nodeselector: selector,
    priority: number,
    attachpoint,
    bytecode: pick("image://x", "x", { imageurl: "x" }, { path: "/x" }, {}, null, 5),
    globals: fc.dictionary(pick("a", "a b") as fc.Arbitrary<string>, pick(1, true, "x", [1], {}, [])),
    sharedmaps: fc.dictionary(pick("a") as fc.Arbitrary<string>, pick("x", "", 1)),
  });
  await fc.assert(
    fc.asyncProperty(spec, (value) => compare(kindOf("BpfProgramConfig"), value, onlyOurs)),
    { numRuns: 600 },
  );
});

/** Codes of what CEL does not look at: the bytes of entries, fields that may be text or an object. */
const onlyOurs = new Set(["duplicate-key", "bytecode"]);

test("CRDs and parse decide alike on any EBPFProgram", { skip }, async () => {
  const flag = fc.oneof(
    { weight: 9, arbitrary: fc.boolean() },
    { weight: 1, arbitrary: fc.constantFrom(null, "true", 1) },
  );
  const flags = (...names: readonly string[]): fc.Arbitrary<unknown> =>
    fc.record(Object.fromEntries(names.map((name) => [name, flag])), { requiredKeys: [] });
  const number = fc.constantFrom(0, 1, 10, 63, 64, 4294967295, 4294967296, -1, 2147483648, 1.5, "1", null);
  const address = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 40 })).map((parts) => parts.join("/")),
    fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 130 })).map((parts) => parts.join("/")),
    fc.constantFrom(
      "",
      "::ffff:1.2.3.4",
      "1.2.3",
      "01.2.3.4",
      "fe80::1%eth0",
      "1.2.3.4/08",
      "x",
      "::1/129",
      "1.2.3.4/",
    ),
  );
  const settings = fc.record(
    {
      rateLimiting: fc.record({ enabled: flag, packetsPerSecond: number }, { requiredKeys: [] }),
      blacklist: fc.record({ enabled: flag, ips: fc.array(address, { maxLength: 3 }) }, { requiredKeys: [] }),
      stateful: flag,
      trafficControl: fc.record(
        { enableMarking: flag, enableDSCP: flag, enableQoS: flag, defaultMark: number, markMask: number },
        { requiredKeys: [] },
      ),
      socketOps: flags("enableMonitoring", "enableRedirection", "enableTracing"),
      containerPolicy: flags("enableAccounting", "enableEgressControl", "enableDeviceControl", "unknown"),
    },
    { requiredKeys: [] },
  );
  const spec = fc.record(
    {
      type: fc.constantFrom("xdp", "tc-ingress", "tc-egress", "cgroup", "sockops", "xpd"),
      interface: fc.constantFrom("eth0", "a b", "", "a/b", "0123456789abcdef", "é", 5),
      priority: number,
      settings,
      maps: fc.array(fc.constantFrom("a", "b", ""), { maxLength: 3 }),
      description: fc.constantFrom("x", null),
      surplus: fc.constant(1),
    },
    { requiredKeys: ["type"] },
  );
  await fc.assert(
    fc.asyncProperty(spec, (value) => compare(kindOf("EBPFProgram"), value, new Set())),
    { numRuns: 400 },
  );
});

test("CRDs and parse decide alike on any EBPFMap", { skip }, async () => {
  const size = fc.constantFrom(0, 1, 4, 5, 8, 20, 260, 261, 512, 513, -1, "4", null);
  const spec = fc.record(
    {
      type: fc.constantFrom(
        "hash",
        "array",
        "lru_hash",
        "lpm_trie",
        "percpu_hash",
        "percpu_array",
        "stack",
        "queue",
        "ringbuf",
        "perf_event_array",
        "lpm",
      ),
      maxEntries: fc.constantFrom(1, 2, 1024, 0, 2147483647),
      keySize: size,
      valueSize: size,
      flags: fc.constantFrom(0, 1, 4294967295, 4294967296, -1),
      pinPath: fc.constantFrom("/sys/fs/bpf/x", "x", "/", "/a/../b", "/a/", "/a//b"),
      accessedBy: fc.array(fc.constantFrom("a", "b", ""), { maxLength: 3 }),
      prune: fc.boolean(),
    },
    { requiredKeys: ["type", "maxEntries"] },
  );
  await fc.assert(
    fc.asyncProperty(spec, (value) => compare(kindOf("EBPFMap"), value, onlyOurs)),
    { numRuns: 400 },
  );
});

test("CRDs take as many addresses as the API server lets an object have", { skip }, async () => {
  const ips = Array.from({ length: 60_000 }, (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`);
  const answer = await dryRun(
    kindOf("EBPFProgram"),
    objectOf(kindOf("EBPFProgram"), {
      type: "xdp",
      interface: "eth0",
      settings: { blacklist: { enabled: true, ips } },
    }),
  );
  assert.equal(answer.status, 201, String(answer.body["message"]));
});

/** What kubectl answered when the answers were recorded; our unit tests are held to them. */
function testdata(file: string): string {
  return readFileSync(join(root, "packages/kinds/src/yaml/testdata", file), "utf8");
}

/** What kubectl makes of a text: it reads it, adds a label and prints it. */
function labelled(text: string, format: "json" | "yaml"): string {
  return api().kubectl(["label", "--local", "-f", "-", "-o", format, "a=b"], text);
}

const configMap = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" } };

test("parseManifest reads values and keys as this kubectl does", { skip }, () => {
  const lines = [
    ...(JSON.parse(testdata("kubectl-scalars.json")) as [string, unknown][]).map(
      ([written], index) => `  v${index}: ${written}`,
    ),
    ...(JSON.parse(testdata("kubectl-keys.json")) as [string, unknown][]).map(
      ([written], index) => `  k${index}: {${written}: v}`,
    ),
  ];
  const text = `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nspec:\n${lines.join("\n")}\n`;
  const theirs = JSON.parse(labelled(text, "json")) as KubeObject;
  assert.deepEqual(parseManifest(text, "x.yaml").objects[0]?.value["spec"], theirs.spec);
});

test("renderYaml prints what kubectl prints, and kubectl reads back what renderYaml prints", { skip }, () => {
  for (const kind of served) {
    const objects = JSON.parse(api().kubectl(["get", kind.plural, "-o", "json"])) as { items: readonly KubeObject[] };
    for (const item of objects.items) {
      const printed = api().kubectl(["get", kind.plural, item.metadata.name, "-o", "yaml"]);
      assert.equal(renderYaml(item).replaceAll(/^( *)"(on|yes|no)":/gm, "$1$2:"), printed);
    }
  }
  const texts = JSON.parse(testdata("texts.json")) as readonly string[];
  const spec = { ...Object.fromEntries(texts.map((text, index) => [`t${index}`, text])), list: texts };
  const printed = labelled(JSON.stringify({ ...configMap, spec }), "yaml");
  assert.ok(printed.endsWith(`\n${testdata("kubectl-texts.yaml")}`), printed);
  const keys = Object.fromEntries(texts.map((text, index) => [text, index]));
  const more = { ...spec, keys, numbers: [0, -1, 1.5, 1e21, 1e-7, 4294967296] };
  const read = JSON.parse(labelled(renderYaml({ ...configMap, spec: more }), "json")) as KubeObject;
  assert.deepEqual(read.spec, more);
});
