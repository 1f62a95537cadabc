import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { parseManifest } from "./parse-manifest.ts";
import { renderYaml } from "./render-yaml.ts";

test("renderYaml sorts keys and does not indent lists, as kubectl does", () => {
  const value = {
    spec: { ips: ["10.0.0.0/8", "x"], empty: [], none: {}, nested: [[1], { b: 1, a: null }] },
    apiVersion: "v1",
    on: "yes",
    mode: "0o644",
  };
  const expected = [
    '"on": "yes"',
    "apiVersion: v1",
    'mode: "0o644"',
    "spec:",
    "  empty: []",
    "  ips:",
    "  - 10.0.0.0/8",
    "  - x",
    "  nested:",
    "  - - 1",
    "  - a: null",
    "    b: 1",
    "  none: {}",
    "",
  ];
  assert.deepEqual(renderYaml(value).split("\n").toSorted(), expected.toSorted());
  assert.ok(renderYaml(value).startsWith("apiVersion: v1\n"));
});

test("renderYaml writes every text as kubectl does", () => {
  const texts = JSON.parse(readFileSync(new URL("testdata/texts.json", import.meta.url), "utf8")) as string[];
  const spec = { ...Object.fromEntries(texts.map((text, index) => [`t${index}`, text])), list: texts };
  assert.equal(renderYaml({ spec }), readFileSync(new URL("testdata/kubectl-texts.yaml", import.meta.url), "utf8"));
});

test("renderYaml breaks long lines where kubectl does", () => {
  const texts = JSON.parse(readFileSync(new URL("testdata/long-texts.json", import.meta.url), "utf8")) as string[];
  const fields = Object.fromEntries(texts.map((text, index) => [`t${String(index).padStart(2, "0")}`, text]));
  const some = texts.slice(0, 12);
  const spec = { fields, list: [{ a: { b: some } }, some] };
  const printed = readFileSync(new URL("testdata/kubectl-long-texts.yaml", import.meta.url), "utf8");
  assert.equal(renderYaml({ spec }), printed);
  assert.ok(printed.split("\n").length > texts.length * 3);
});

test("renderYaml puts keys into kubectl's order", () => {
  const expected = readFileSync(new URL("testdata/kubectl-key-order.yaml", import.meta.url), "utf8");
  const { value } = parseManifest(expected, "x.yaml").objects[0] ?? {};
  const reversed = Object.fromEntries(Object.entries(value?.["spec"] ?? {}).toReversed());
  assert.equal(renderYaml({ spec: reversed }), expected);
});

test("renderYaml keeps text of several lines readable", () => {
  assert.equal(renderYaml({ log: "a\nb\n" }), "log: |\n  a\n  b\n");
});

test("parseManifest reads back what renderYaml prints", () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary", maxLength: 20 }),
    fc
      .array(fc.constantFrom(" ", "  ", "word", "'", ":", "\\", "\u0001", "é"), { minLength: 60, maxLength: 80 })
      .map((parts) => parts.join("")),
    fc.constantFrom(
      "yes",
      "0644",
      "0o7",
      "1_0",
      "1:30",
      "2001-12-14",
      "~",
      "",
      " a",
      "a ",
      "- a",
      "a: b",
      "#",
      "<<",
      "a\n b\n",
      "\n",
      "'",
      '"',
      "0x1",
      ".inf",
      "=",
      "[",
      "!x",
      "&a",
      "*a",
    ),
  );
  const value = fc.letrec((tie) => ({
    node: fc.oneof(
      { maxDepth: 4 },
      text,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }),
      fc.array(tie("node"), { maxLength: 4 }),
      fc.dictionary(text, tie("node"), { maxKeys: 4 }),
    ),
  })).node;
  fc.assert(
    fc.property(fc.dictionary(fc.string({ minLength: 1 }), value), (object) => {
      const wanted = JSON.parse(JSON.stringify({ ...object, kind: "X" })) as Record<string, unknown>;
      const { objects, issues } = parseManifest(renderYaml(wanted), "f.yaml");
      assert.deepEqual(issues, []);
      assert.deepEqual(JSON.parse(JSON.stringify(objects[0]?.value)), wanted);
    }),
    { numRuns: 500 },
  );
});
