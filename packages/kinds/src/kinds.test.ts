import assert from "node:assert/strict";
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { apiVersionOf } from "./define-kind.ts";
import { findKind, findKindByName, kinds } from "./kinds.ts";
import { notServedReason } from "./not-served.ts";
import { listFields } from "./schema/fields-of.ts";
import { outcome } from "./testing/outcomes.ts";
import { readAll, testNode } from "./testing/read-all.ts";

const folders = globSync("*/*/schema.ts", { cwd: import.meta.dirname }).map((file) => file.replace("/schema.ts", ""));

test("kinds lists every folder of a kind, and each folder has all its parts", () => {
  const listed = kinds.map((kind) => `${kind.group === "" ? "core" : kind.group}/${kind.singular}`);
  assert.deepEqual(folders.toSorted(), listed.toSorted());
  for (const folder of folders) {
    for (const part of ["schema.ts", "columns.ts", "access.ts", "README.md", "samples"])
      assert.ok(existsSync(`${import.meta.dirname}/${folder}/${part}`), `${folder}/${part}`);
  }
});

test("kinds read, check and lower every sample, and refuse of it only what is not served yet", () => {
  for (const kind of kinds) {
    const samples = `${import.meta.dirname}/${kind.group === "" ? "core" : kind.group}/${kind.singular}/samples`;
    const files = readdirSync(samples);
    assert.ok(files.length > 0);
    for (const file of files) {
      const { issues, parsed, lower } = readAll(readFileSync(`${samples}/${file}`, "utf8"), file);
      assert.deepEqual(
        issues.filter(({ severity }) => severity === "error"),
        [],
        file,
      );
      assert.ok(parsed.length > 0 && parsed.every(({ object }) => object.kind === kind.kind));
      assert.deepEqual(
        lower().problems.filter(({ severity, reason }) => severity === "refused" && reason !== notServedReason),
        [],
        file,
      );
    }
  }
});

test("kinds describe every field, for kubectl explain and the reference pages", () => {
  for (const { kind, source } of kinds.filter(({ source: { isOurs, crdOwner } }) => isOurs && crdOwner !== "Cilium")) {
    for (const [name, schema] of [["spec", source.specSchema] as const, ["status", source.statusSchema] as const]) {
      const fields = schema === undefined ? [] : listFields(schema, name);
      const bare = fields.filter(({ path, description }) => description === "" && !path.endsWith("[]"));
      assert.deepEqual(bare, [], kind);
    }
  }
});

test("kinds show in columns on how many nodes an object is in force, where their status counts nodes", () => {
  const counting = kinds.filter(({ source: { isOurs, crdOwner, statusSchema } }) => {
    const fields = statusSchema === undefined ? [] : listFields(statusSchema, "status");
    return isOurs && crdOwner === undefined && fields.some(({ path }) => path === "status.nodes.ready");
  });
  assert.ok(counting.length >= 7);
  for (const { kind, columns } of counting) {
    const paths = columns.map(({ jsonPath }) => jsonPath);
    for (const path of [".status.nodes.ready", ".status.nodes.total"])
      assert.ok(paths.includes(path), `${kind} ${path}`);
  }
});

test("findKind finds a kind by what an object says", () => {
  for (const kind of kinds) assert.equal(findKind(apiVersionOf(kind), kind.kind), kind);
  assert.equal(findKind("v1", "EBPFProgram"), undefined);
  assert.equal(findKind("networking.fos1.io/v1", "EBPFProgram"), undefined);
});

test("findKindByName finds a kind by every name that kubectl takes", () => {
  for (const name of [
    "ebpfprogram",
    "ebpfprograms",
    "EBPFProgram",
    "ebpf",
    "ebpfprograms.networking.fos1.io",
    "ebpfprograms.v1alpha1.networking.fos1.io",
  ]) {
    assert.equal(findKindByName(name)?.kind, "EBPFProgram", name);
  }
  assert.equal(findKindByName("po")?.kind, "Pod");
  assert.equal(findKindByName("bpfdebpfprograms")?.kind, "EbpfProgram");
  assert.equal(findKindByName("ebpfprogram.bpfd.io")?.kind, "EbpfProgram");
  assert.equal(findKindByName("ebpfprograms.bpfd.io")?.kind, "EbpfProgram");
  assert.equal(findKindByName("ebpfprograms.example.com"), undefined);
});

test("parse refuses an object without what every object needs", () => {
  const messages = (value: unknown): string[] => {
    const result = findKindByName("ebpfmap")?.parse(value);
    return result?.issues.map((issue) => issue.message) ?? [];
  };
  assert.deepEqual(messages(null), ["must be an object of kind EBPFMap, is empty"]);
  assert.deepEqual(messages({ apiVersion: "v1", kind: "EBPFMap", spce: {} }), [
    'apiVersion: must be networking.fos1.io/v1alpha1, is "v1"',
    "metadata.name: is required",
    "spce: unknown field, left out",
    "spec: is required",
  ]);
  assert.match(
    messages({
      apiVersion: "networking.fos1.io/v1alpha1",
      kind: "EBPFMap",
      metadata: { name: "Bad_Name", namespace: "a.b", labels: { x: 1 } },
      spec: "",
    }).join("|"),
    /metadata\.name: must be lower-case.*metadata\.namespace: must be lower-case.*metadata\.labels\.x: must be text, is 1; put it in quotes\|spec: must be a mapping/,
  );
});

test("parse, lower and status never throw, whatever an object holds", () => {
  const word = fc.constantFrom(
    "xdp",
    "cgroup",
    "sockops",
    "tc-egress",
    "lpm_trie",
    "array",
    "hash",
    "ringbuf",
    "eth0",
    "10.0.0.0/8",
    "0x0a000000/8",
    "0x1",
    "",
    "p",
    "/x/..",
    "XDP",
    "CGROUP_SKB",
    "TRACEPOINT",
    "a/b",
    "image://x/y:z",
    "file:///x",
    "EGRESS",
    "In",
  );
  const leaf = fc.oneof(word, fc.constantFrom(0, 1, -1, 4, 8, 1e308, 0.5, null, true, false));
  const names = [
    "type",
    "interface",
    "priority",
    "settings",
    "maps",
    "rateLimiting",
    "blacklist",
    "ips",
    "enabled",
    "packetsPerSecond",
    "stateful",
    "trafficControl",
    "enableDSCP",
    "defaultMark",
    "containerPolicy",
    "enableEgressControl",
    "enableAccounting",
    "socketOps",
    "enableTracing",
    "maxEntries",
    "keySize",
    "valueSize",
    "initData",
    "key",
    "value",
    "accessedBy",
    "pinPath",
    "flags",
    "name",
    "nodeselector",
    "matchLabels",
    "matchExpressions",
    "operator",
    "values",
    "attachpoint",
    "networkmultiattach",
    "singleattach",
    "cgroup",
    "namespace",
    "direction",
    "proceedon",
    "bytecode",
    "imageurl",
    "image",
    "globals",
    "sharedmaps",
    "programs",
    "maps",
    "data",
    "addresses",
    "labelSets",
    "queueingDiscipline",
    "filters",
    "classes",
    "action",
    "match",
    "police",
    "rate",
    "externalIP",
    "sourceAddresses",
    "portMappings",
    "selector",
    "podSelector",
    "networkControls",
    "ingressRules",
    "deviceControl",
    "allowedDevices",
    "ingress",
    "egress",
    "from",
    "to",
    "ports",
    "ipBlock",
    "cidr",
    "except",
    "ebpfConfig",
    "l4Firewall",
    "allowedPorts",
    "syscallMonitoring",
    "bpfEnabled",
    "bpfPSNATPorts",
    "__proto__",
    "toString",
  ];
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...names), tie("tree"), { maxKeys: 6 }),
    ),
  }));
  const metadata = fc.oneof({ weight: 5, arbitrary: fc.constant({ name: "p" }) }, { weight: 1, arbitrary: tree });
  for (const kind of kinds) {
    const object = fc.record({
      apiVersion: fc.constant(apiVersionOf(kind)),
      kind: fc.constant(kind.kind),
      metadata,
      spec: fc.oneof(tree, fc.dictionary(fc.constantFrom(...names), tree)),
    });
    fc.assert(
      fc.property(object, (value) => {
        const result = kind.parse(value);
        if (!result.ok) return assert.ok(result.issues.some((issue) => issue.severity === "error"));
        kind.lower(result.value, { find: () => result.value, list: () => [result.value], node: testNode });
        kind.status(result.value, outcome({}));
        kind.generate(result.value, () => outcome({}));
      }),
      { numRuns: 2000 },
    );
  }
});

test("parse gives back what it has given", () => {
  for (const kind of kinds) {
    for (const file of globSync(`*/${kind.singular}/samples/*.yaml`, { cwd: import.meta.dirname })) {
      for (const { object } of readAll(readFileSync(`${import.meta.dirname}/${file}`, "utf8")).parsed) {
        const again = kind.parse(JSON.parse(JSON.stringify(object)));
        assert.ok(again.ok && again.issues.every(({ code }) => code !== "unknown-field"));
        assert.deepEqual(again.value.object, object);
      }
    }
  }
});
