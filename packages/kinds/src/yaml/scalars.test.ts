import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseManifest } from "./parse-manifest.ts";
import { resolvePlain } from "./scalars.ts";

function answers(name: string): readonly [string, unknown][] {
  return JSON.parse(readFileSync(new URL(`testdata/${name}.json`, import.meta.url), "utf8")) as [string, unknown][];
}

test("parseManifest reads every value as kubectl does", () => {
  for (const [written, expected] of answers("kubectl-scalars")) {
    const { objects, issues } = parseManifest(`f: ${written}\n`, "f.yaml");
    assert.deepEqual([written, issues, objects[0]?.value["f"]], [written, [], expected]);
  }
});

test("parseManifest reads every key as kubectl does", () => {
  for (const [written, expected] of answers("kubectl-keys")) {
    const { objects } = parseManifest(`${written}: v\n`, "f.yaml");
    assert.deepEqual([written, Object.keys(objects[0]?.value ?? {})], [written, [expected]]);
  }
});

test("resolvePlain refuses numbers that JSON cannot carry or JavaScript cannot hold", () => {
  for (const text of [
    ".inf",
    "-.inf",
    "+.INF",
    ".nan",
    "9007199254740992",
    "0xFFFFFFFFFFFFFFFF",
    "-9007199254740992",
  ]) {
    assert.equal(resolvePlain(text).ok, false, text);
  }
});
