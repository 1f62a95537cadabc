import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import { baseManifests } from "./base-manifests.ts";
import { oldestKubernetes } from "./names.ts";
import { builtImages } from "./operator-deployment.ts";

/**
 * The minor version of Kubernetes that brought a function or a piece of syntax of CEL, 0 where it was there from the
 * first: `IntroducedVersion` in k8s.io/apiserver/pkg/cel/environment/base.go. What is new there an API server takes in
 * new expressions one version later, so that it could be replaced by the one before.
 */
const introduced: ReadonlyMap<string, number> = new Map([
  ...["all", "exists", "exists_one", "filter", "map", "has", "size", "contains", "startsWith", "endsWith"].map(old),
  ...["matches", "int", "uint", "double", "string", "bool", "bytes", "type", "dyn", "duration"].map(old),
  ...["timestamp", "find", "findAll", "isSorted", "sum", "min", "max", "indexOf", "lastIndexOf"].map(old),
  ...["url", "isURL", "charAt", "join", "lowerAscii", "upperAscii", "replace", "split", "substring"].map(old),
  ...["trim", "getScheme", "getHost", "getHostname", "getPort", "getEscapedPath", "getQuery"].map(old),
  ...["getHours", "getMinutes", "getSeconds", "getMilliseconds"].map(old),
  ...["optional.of", "optional.none", "optMap", "orValue", "or", "hasValue", "value"].map(since(28)),
  ...["an optional field", "quantity", "isQuantity", "isGreaterThan", "isLessThan", "asInteger"].map(since(28)),
  ...["isInteger", "asApproximateFloat", "compareTo", "sign", "add", "sub"].map(since(28)),
  ...["sets.contains", "sets.equivalent", "sets.intersects", "quote", "format"].map(since(29)),
  ...["ip", "isIP", "family", "ip.isCanonical", "isUnspecified", "isLoopback", "isGlobalUnicast"].map(since(30)),
  ...["isLinkLocalUnicast", "isLinkLocalMulticast", "cidr", "isCIDR", "containsIP", "containsCIDR"].map(since(30)),
  ...["prefixLength", "masked"].map(since(30)),
  ...["format.dns1123Label", "format.named", "validate"].map(since(31)),
  ...["two variables", "transformList", "transformMap", "transformMapEntry"].map(since(32)),
]);

function since(minor: number): (name: string) => readonly [string, number] {
  return (name) => [name, minor];
}

function old(name: string): readonly [string, number] {
  return [name, 0];
}

const holders: ReadonlySet<string> = new Set(["rule", "expression", "messageExpression", "valueExpression"]);

function expressionsOf(value: unknown): readonly string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, field]: [string, unknown]) =>
    holders.has(name) && typeof field === "string" ? [field] : expressionsOf(field),
  );
}

function wordsOf(expression: string): readonly string[] {
  const code = expression.replaceAll(/r?'(?:[^'\\]|\\.)*'|r?"(?:[^"\\]|\\.)*"/g, "''");
  return [
    ...Array.from(code.matchAll(/((?:\b(?:sets|optional|format|ip)\.)?\b[A-Za-z_]\w*)\s*\(/g), ([, name = ""]) => name),
    ...(/\.\?|\[\?/.test(code) ? ["an optional field"] : []),
    ...(/\.(?:all|exists|existsOne|exists_one)\(\s*\w+\s*,\s*\w+\s*,/.test(code) ? ["two variables"] : []),
  ];
}

test("CRDs and admission policies use no function of CEL that is newer than the oldest Kubernetes that is served", () => {
  const made = [...kinds.map((kind) => kind.crd()), ...Object.values(baseManifests(kinds, builtImages))];
  const expressions = expressionsOf(made);
  assert.ok(expressions.length > 100);
  const words = new Set(expressions.flatMap(wordsOf));
  assert.ok(words.has("isIP") && words.has("an optional field"));
  const [, minor = ""] = oldestKubernetes.split(".");
  const tooNew = [...words].filter((word) => (introduced.get(word) ?? Infinity) >= Number(minor));
  assert.deepEqual(tooNew, [], `introduced in ${minor} or later, or not in the table`);
});

test("documents name the oldest Kubernetes that is served, and no other", () => {
  const root = join(import.meta.dirname, "../../../..");
  const pages = [
    "docs/guides/cluster.md",
    "docs/reference/privileges.md",
    "docs/adr/0018-objects-are-kept-by-owned-fields.md",
  ];
  for (const page of pages) {
    const text = readFileSync(join(root, page), "utf8").replaceAll(/\s+/g, " ");
    const named = Array.from(text.matchAll(/Kubernetes (1\.\d+) or newer/g), ([, version]) => version);
    assert.deepEqual([...new Set(named)], [oldestKubernetes], page);
  }
  const chart = readFileSync(join(root, "manifests/helm/bpfleet/Chart.yaml"), "utf8");
  assert.match(chart, new RegExp(`^kubeVersion: '>=${oldestKubernetes}\\.0-0'$`, "m"));
});
