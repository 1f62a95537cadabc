import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { apiVersionOf, felixFromValues, findKind, kinds, notServedReason, parseManifest } from "@bpfleet/kinds";
import type { DefinedKind, Lowered, ManifestObject, Parsed } from "@bpfleet/kinds";
import { daemonCapabilities } from "@bpfleet/operator/desired";
import { documentBlocks } from "../../tools/documents/blocks.ts";
import type { DocumentBlock } from "../../tools/documents/blocks.ts";

const root = join(import.meta.dirname, "../..");
const operator = "manifests/base/ebpf/generated/operator.yaml";
const ours = new Set(kinds.map(({ group }) => group));

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

function objectsOf(file: string): readonly ManifestObject[] {
  const { objects, issues } = parseManifest(read(file), file);
  assert.deepEqual(issues, [], file);
  return objects;
}

function onlyOf(file: string): ManifestObject {
  const [only, ...more] = objectsOf(file);
  assert.ok(only !== undefined && more.length === 0, file);
  return only;
}

function blockOf(document: string, line: number): DocumentBlock {
  return documentBlocks.find((block) => block.document === document && block.line === line) ?? assert.fail(document);
}

function lower(kind: DefinedKind, parsed: Parsed): Lowered {
  const node = { name: "node-1", labels: {}, internalIps: [] };
  return kind.lower(parsed, { find: () => undefined, list: () => [], node });
}

test("documentBlocks has every block that is kept, and each of its tests is there", () => {
  const files = globSync("packages/kinds/src/{testdata/documents,bpfd.io/testdata}/*.yaml", { cwd: root });
  assert.deepEqual(documentBlocks.map(({ file }) => file).toSorted(), files.toSorted());
  for (const { tests } of documentBlocks) for (const file of tests) assert.ok(existsSync(join(root, file)), file);
});

test("documents: what is applied as it stands has no mistake, and asks for something or says what is not served", () => {
  for (const { file, state, today } of documentBlocks.filter((block) => block.state === "applied")) {
    const object = onlyOf(file);
    if (!ours.has(object.apiVersion.split("/")[0] ?? "")) {
      assert.equal(state, "applied");
      continue;
    }
    const kind = findKind(object.apiVersion, object.kind) ?? assert.fail(file);
    const result = kind.parse(object.value, object.positionOf);
    assert.ok(result.ok, file);
    const { intents, problems } = lower(kind, result.value);
    const isLater = problems.some(({ severity, reason }) => severity === "refused" && reason === notServedReason);
    assert.equal(isLater || intents.length > 0, true, file);
    assert.equal(/NotServed|to come/.test(today), intents.length === 0 || isLater, file);
  }
});

test("documents: the settings of Calico fit below a FelixConfiguration", () => {
  const kind = findKind("crd.projectcalico.org/v1", "FelixConfiguration") ?? assert.fail();
  for (const line of [25, 244, 256]) {
    const object = felixFromValues(onlyOf(blockOf("calico-ebpf-dataplane.md", line).file).value);
    const result = kind.parse(object);
    assert.ok(result.ok, String(line));
    assert.equal(lower(kind, result.value).problems.length, line === 244 ? 0 : 1);
  }
});

test("documents: a command above settings is told as such, and without it they fit", () => {
  const { file } = blockOf("calico-ebpf-dataplane.md", 228);
  const { objects, issues } = parseManifest(read(file), file);
  assert.deepEqual([objects.length, issues.length, issues[0]?.position?.line], [0, 1, 2]);
  assert.match(issues[0]?.message ?? "", /is text, and something else follows it; if it is a command, remove it/);
  const rest = read(file).replace(/^\.\/zarf.*$/m, "");
  const head = "apiVersion: crd.projectcalico.org/v1\nkind: FelixConfiguration\nmetadata: {name: default}\n";
  const [object] = parseManifest(`${head}${rest}`, file).objects;
  const result = findKind(object?.apiVersion ?? "", object?.kind ?? "")?.parse(object?.value);
  assert.ok(result?.ok === true && result.issues.length === 0);
  assert.deepEqual(result.value.object.spec, { logSeverityScreen: "Debug", bpfLogLevel: "Debug" });
});

test("documents: outputs are indented wrongly there, and rightly they are what our kinds read", () => {
  for (const { file } of documentBlocks.filter(({ state }) => state === "output")) {
    assert.ok(
      parseManifest(read(file), file).issues.some(({ position }) => position?.line === 2),
      file,
    );
    const [object] = parseManifest(read(file).replaceAll(/^ {2}/gm, ""), file).objects;
    const kind = findKind(object?.apiVersion ?? "", object?.kind ?? "") ?? assert.fail(file);
    assert.deepEqual(kind.parse(object?.value).issues, []);
    assert.ok(kind.madeFrom !== undefined);
  }
});

interface Container {
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly resources: unknown;
  readonly securityContext: { readonly capabilities?: { readonly add?: readonly string[] } };
}

interface Deployment {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly replicas: number;
    readonly selector: unknown;
    readonly template: {
      readonly spec: { readonly serviceAccountName: string; readonly containers: readonly Container[] };
    };
  };
}

function deploymentOf(file: string): Deployment {
  const found = objectsOf(file).find(({ kind }) => kind === "Deployment") ?? assert.fail(file);
  return found.value as unknown as Deployment;
}

function containerOf({ spec }: Deployment): Container {
  return spec.template.spec.containers[0] ?? assert.fail("no container");
}

test("documents: the operator's Deployment has the names, labels, replicas, resources and ports of theirs", () => {
  const theirs = deploymentOf(blockOf("podconfigmap-ebpf.md", 174).file);
  const mine = deploymentOf(operator);
  assert.equal(mine.metadata.name, theirs.metadata.name);
  assert.equal(mine.spec.replicas, theirs.spec.replicas);
  assert.deepEqual(mine.spec.selector, theirs.spec.selector);
  assert.equal(mine.spec.template.spec.serviceAccountName, theirs.spec.template.spec.serviceAccountName);
  assert.deepEqual(containerOf(mine).resources, containerOf(theirs).resources);
  for (const { name, containerPort } of containerOf(theirs).ports)
    assert.equal(containerOf(mine).ports.find((port) => port.name === name)?.containerPort, containerPort);
  assert.equal(containerOf(mine).securityContext.capabilities?.add, undefined);
});

test("documents: the operator has the variables of leader election, the daemon the capabilities", () => {
  const { env } = onlyOf(blockOf("podconfigmap-ebpf.md", 123).file).value as unknown as Container;
  const own = containerOf(deploymentOf(operator)).env;
  for (const variable of env)
    assert.deepEqual(
      own.find(({ name }) => name === variable.name),
      variable,
    );
  const { securityContext } = onlyOf(blockOf("podconfigmap-ebpf.md", 148).file).value as unknown as Container;
  for (const capability of securityContext.capabilities?.add ?? []) assert.ok(capability in daemonCapabilities);
});

test("documents: the ServiceMonitor is in a version that is none, and else fits our Service", () => {
  const { apiVersion, kind, value } = onlyOf(blockOf("podconfigmap-ebpf.md", 249).file);
  assert.deepEqual([apiVersion, kind, findKind(apiVersion, kind)], ["v1", "ServiceMonitor", undefined]);
  const { selector, endpoints } = value["spec"] as {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly endpoints: readonly { readonly port: string }[];
  };
  const service = objectsOf(operator).find((object) => object.kind === "Service")?.value as unknown as {
    readonly metadata: { readonly labels: Readonly<Record<string, string>> };
    readonly spec: { readonly ports: readonly { readonly name: string }[] };
  };
  for (const [name, label] of Object.entries(selector.matchLabels)) assert.equal(service.metadata.labels[name], label);
  for (const { port } of endpoints) assert.ok(service.spec.ports.some(({ name }) => name === port));
});

test("documents: the alerting rules are two, each of a metric of the controller", () => {
  const { groups } = onlyOf(blockOf("podconfigmap-ebpf.md", 275).file).value as unknown as {
    readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
  };
  const rules = groups.flatMap((group) => group.rules);
  assert.deepEqual(
    rules.map(({ alert }) => alert),
    ["EBPFProgramAttachFailure", "HighSyscallRate"],
  );
  assert.ok(rules.every(({ expr }) => /podconfigmap_controller_ebpf_\w+_total/.test(expr)));
});

test("documents: every kind of ours that a document names has a block that is applied as it stands", () => {
  const named = new Set(documentBlocks.filter(({ state }) => state === "applied").map(({ file }) => onlyOf(file).kind));
  const declared = kinds.filter(
    ({ source, madeFrom, group }) =>
      source.isOurs && madeFrom === undefined && group !== "bpfleet.io" && source.crdOwner !== "Calico",
  );
  for (const kind of declared) assert.ok(named.has(kind.kind), `${apiVersionOf(kind)} ${kind.kind}`);
});
