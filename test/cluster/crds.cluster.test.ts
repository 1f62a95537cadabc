import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { kinds, parseManifest, renderYaml } from "@bpfleet/kinds";
import type { DefinedKind, KubeObject } from "@bpfleet/kinds";
import { ownGroups } from "@bpfleet/operator/desired";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer } from "./api-server.ts";
import type { ApiServer } from "./api-server.ts";
import { compare, compareAll, dryRun, faultyFields, objectOf, pathOf } from "./compare.ts";
import { crdsServed, installCrds } from "./install-crds.ts";
import { partOfStatus, statusOf } from "./statuses.ts";
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
  await installCrds(
    server,
    served.filter(({ group }) => !ownGroups.includes(group)),
  );
  await crdsServed(server, served);
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
      assert.ok(
        parsed.ok && parsed.issues.every(({ code }) => code !== "unknown-field"),
        JSON.stringify(parsed.issues),
      );
      assert.deepEqual(parsed.value.object.spec, item.spec);
    }
  }
});

test("config/samples apply with kubectl, as a folder and with kustomize", { skip }, () => {
  const folder = join(root, "config/samples");
  const objects = globSync("*.yaml", { cwd: folder }).length;
  for (const how of ["-f", "-k"]) {
    const lines = api().kubectl(["apply", "--validate=strict", how, folder]).trim().split("\n");
    assert.equal(lines.length, objects);
    assert.ok(
      lines.every((line) => / (created|configured|unchanged)$/.test(line)),
      lines.join("\n"),
    );
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
  for (const kind of served.filter(({ source }) => source.statusSchema !== undefined)) {
    const list = await api().call("GET", pathOf(kind));
    const [object] = list.body["items"] as readonly KubeObject[];
    assert.ok(object !== undefined, `no sample of ${kind.kind}`);
    const { name } = object.metadata;
    const status = statusOf(kind.kind);
    const answer = await api().call("PUT", pathOf(kind, `/${name}/status?fieldValidation=Strict`), {
      ...object,
      ...(object.spec === undefined ? {} : { spec: {} }),
      status,
    });
    assert.equal(answer.status, 200, String(answer.body["message"]));
    assert.deepEqual(answer.body["status"], status);
    assert.deepEqual(answer.body["spec"], object.spec);
    const apply = await api().call(
      "PATCH",
      pathOf(kind, `/${name}/status?fieldManager=agent&force=true`),
      { ...objectOf(kind, undefined, name), status: partOfStatus },
      { "content-type": "application/apply-patch+yaml" },
    );
    assert.equal(apply.status, 200, String(apply.body["message"]));
  }
});

test("CRDs and parse decide alike on specs that break each rule", { skip }, async () => {
  await compareAll(api(), kindOf("EBPFProgram"), programSpecs, new Set());
  await compareAll(api(), kindOf("EBPFMap"), mapSpecs);
});

test("CRDs and parse decide alike on every form of a program that people bring", { skip }, async () => {
  for (const name of ["BpfProgramConfig", "EbpfProgramConfig"]) await compareAll(api(), kindOf(name), configSpecs);
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
    fc.asyncProperty(spec, async (value) => void (await compare(api(), kindOf("BpfProgramConfig"), value))),
    { numRuns: 300 },
  );
});

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
    fc.asyncProperty(spec, async (value) => void (await compare(api(), kindOf("EBPFProgram"), value, new Set()))),
    { numRuns: 250 },
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
    fc.asyncProperty(spec, async (value) => void (await compare(api(), kindOf("EBPFMap"), value))),
    { numRuns: 250 },
  );
});

test("CRDs take as many addresses as the API server lets an object have", { skip }, async () => {
  const ips = Array.from({ length: 60_000 }, (_, index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`);
  const answer = await dryRun(
    api(),
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
  const longTexts = JSON.parse(testdata("long-texts.json")) as readonly string[];
  const some = longTexts.slice(0, 12);
  const fields = Object.fromEntries(longTexts.map((text, index) => [`t${String(index).padStart(2, "0")}`, text]));
  const long = labelled(JSON.stringify({ ...configMap, spec: { fields, list: [{ a: { b: some } }, some] } }), "yaml");
  assert.ok(long.endsWith(`\n${testdata("kubectl-long-texts.yaml")}`), long);
  const keys = Object.fromEntries(texts.map((text, index) => [text, index]));
  const more = { ...spec, keys, numbers: [0, -1, 1.5, 1e21, 1e-7, 4294967296] };
  const read = JSON.parse(labelled(renderYaml({ ...configMap, spec: more }), "json")) as KubeObject;
  assert.deepEqual(read.spec, more);
});
