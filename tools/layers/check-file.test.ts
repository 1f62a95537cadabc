import assert from "node:assert/strict";
import { test } from "node:test";
import { checkFile, checkName } from "./check-file.ts";
import type { Layers, PackageJson } from "./check-file.ts";

const layers: Layers = {
  base: { folder: "packages/base", isPure: true, imports: [] },
  kinds: { folder: "packages/kinds", isPure: true, imports: ["base"], importsTypes: ["features"] },
  features: { folder: "packages/features", isPure: true, imports: ["base"] },
  native: { folder: "packages/native", isPure: false, imports: ["base"] },
  ebpfctl: { folder: "apps/ebpfctl", isPure: false, imports: ["base"], importsFrom: { native: ["src/up.ts"] } },
};
const packages = new Map<string, PackageJson>(
  Object.keys(layers).map((name) => [name, { exports: { ".": "./src/mod.ts" }, dependencies: { yaml: "2.0.0" } }]),
);
const check = (path: string, text: string): string[] => checkFile({ path, text }, layers, packages);

test("checkFile lets an allowed edge pass", () => {
  assert.deepEqual(check("packages/kinds/src/a.ts", 'import { ok } from "@bpfleet/base";'), []);
});

test("checkFile names an edge that no layer has, with file and line", () => {
  assert.deepEqual(check("packages/base/src/a.ts", '\nimport { x } from "@bpfleet/kinds";'), [
    "packages/base/src/a.ts:2: base → kinds is no edge of layers.json; a new edge needs an ADR",
  ]);
});

test("checkFile refuses an import of an app", () => {
  assert.match(check("packages/base/src/a.ts", 'import "@bpfleet/ebpfctl";')[0] ?? "", /nothing imports an app/);
});

test("checkFile lets an edge for types pass only as import type", () => {
  assert.deepEqual(check("packages/kinds/src/a.ts", 'import type { I } from "@bpfleet/features";'), []);
  assert.match(
    check("packages/kinds/src/a.ts", 'import { I } from "@bpfleet/features";')[0] ?? "",
    /write import type/,
  );
});

test("checkFile keeps an edge to the files it is given to", () => {
  assert.deepEqual(check("apps/ebpfctl/src/up.ts", 'import { open } from "@bpfleet/native";'), []);
  assert.match(
    check("apps/ebpfctl/src/get.ts", 'import { open } from "@bpfleet/native";')[0] ?? "",
    /only for src\/up\.ts/,
  );
});

test("checkFile refuses what is not exported, what leaves the folder, and what is not declared", () => {
  assert.match(
    check("packages/kinds/src/a.ts", 'import "@bpfleet/base/src/x.ts";')[0] ?? "",
    /not in that package's exports/,
  );
  assert.match(check("packages/kinds/src/a.ts", 'import "../../base/src/x.ts";')[0] ?? "", /leaves packages\/kinds/);
  assert.match(
    check("packages/kinds/src/a.ts", 'import "undici";')[0] ?? "",
    /undici is not in the dependencies of kinds/,
  );
  assert.deepEqual(check("packages/kinds/src/a.ts", 'import { parse } from "yaml";'), []);
});

test("checkFile lets tests and tools import each other, but no package by its path", () => {
  assert.deepEqual(check("test/cluster/a.test.ts", 'import "../../tools/b.ts";'), []);
  assert.match(
    check("test/a.test.ts", 'import "../packages/base/src/x.ts";')[0] ?? "",
    /leaves test; import a package by its name/,
  );
});

test("checkFile refuses Node, the clock and chance in a pure package, but not in its tests", () => {
  const text = 'import "node:fs";\nconst now = Date.now() + new Date() + Math.random();\nconst given = new Date(0);';
  assert.equal(check("packages/base/src/a.ts", text).length, 4);
  assert.deepEqual(check("packages/base/src/a.test.ts", text), []);
});

test("checkName refuses names that say nothing", () => {
  assert.equal(checkName("packages/base/src/string-utils.ts").length, 1);
  assert.equal(checkName("packages/base/src/types.ts").length, 1);
  assert.equal(checkName("packages/base/src/common/a.ts").length, 1);
  assert.deepEqual(checkName("packages/base/src/text-table.ts"), []);
});
