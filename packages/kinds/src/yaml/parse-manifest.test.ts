import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseManifest } from "./parse-manifest.ts";

function places(text: string): string[] {
  return parseManifest(text, "f.yaml").issues.map(
    ({ position, code, message }) => `${position?.line}:${position?.column} ${code} ${message}`,
  );
}

test("parseManifest reads several documents and skips empty ones", () => {
  const { objects, issues } = parseManifest(
    "---\nkind: A\n---\n# nothing\n---\nkind: B\nmetadata: {name: b, namespace: ns}\n",
    "f.yaml",
  );
  assert.deepEqual(issues, []);
  assert.deepEqual(
    objects.map(({ kind, name, namespace }) => [kind, name, namespace]),
    [
      ["A", "", undefined],
      ["B", "b", "ns"],
    ],
  );
});

test("parseManifest takes Lists apart, with the place of each item", () => {
  const { objects } = parseManifest(
    "kind: List\napiVersion: v1\nitems:\n- kind: A\n  spec:\n    x: 1\n- kind: B\n",
    "f.yaml",
  );
  assert.deepEqual(
    objects.map(({ kind }) => kind),
    ["A", "B"],
  );
  assert.deepEqual(objects[0]?.positionOf("/spec/x"), { file: "f.yaml", line: 6, column: 5 });
  assert.deepEqual(objects[1]?.positionOf(""), { file: "f.yaml", line: 7, column: 3 });
});

test("parseManifest places every field, and a missing one at its nearest parent", () => {
  const { objects } = parseManifest("kind: A\nspec:\n  ips:\n    - a\n    - b\n  flow: {x: 1}\n  a/b~c: 1\n", "f.yaml");
  const at = (path: string): string => {
    const position = objects[0]?.positionOf(path);
    return `${position?.line}:${position?.column}`;
  };
  assert.equal(at("/kind"), "1:1");
  assert.equal(at("/spec/ips/1"), "5:7");
  assert.equal(at("/spec/ips/7"), "3:3");
  assert.equal(at("/spec/flow/x"), "6:10");
  assert.equal(at("/spec/a~1b~0c"), "7:3");
  assert.equal(at("/spec/interface"), "2:1");
  assert.equal(at("/metadata/name"), "1:1");
});

test("parseManifest tells a syntax error with its place and still reads the other documents", () => {
  const text = "kind: A\n---\nkind: [B\nx: 1\n---\nkind: C\n";
  assert.deepEqual(
    parseManifest(text, "f.yaml").objects.map(({ kind }) => kind),
    ["A", "C"],
  );
  assert.match(places(text)[0] ?? "", /^4:1 syntax parse YAML: /);
});

test("parseManifest refuses keys given twice, in YAML and JSON", () => {
  assert.deepEqual(places("kind: A\nspec:\n  x: 1\n  x: 2\n"), ["4:3 duplicate-key spec.x: is given twice; keep one"]);
  assert.deepEqual(places('{"kind": "A",\n "kind": "B"}'), ["2:2 duplicate-key kind: is given twice; keep one"]);
  assert.deepEqual(places("a: 1\n<<: {b: 1}\n<<: {c: 1}\n"), []);
});

test("parseManifest merges mappings in the order of the text, as kubectl does", () => {
  const text =
    'base: &b {a: 1, z: 9}\nm1: {<<: *b, a: 2}\nm2:\n  a: 2\n  <<: *b\nm3:\n  <<: [{a: 3}, *b]\nm4: {"<<": {a: 1}}\n';
  const { value } = parseManifest(text, "f.yaml").objects[0] ?? {};
  assert.deepEqual(
    [value?.["m1"], value?.["m2"], value?.["m3"], value?.["m4"]],
    [{ a: 2, z: 9 }, { a: 1, z: 9 }, { a: 3, z: 9 }, { "<<": { a: 1 } }],
  );
});

test("parseManifest refuses a bomb of aliases at once", () => {
  let text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (let level = 1; level < 12; level++)
    text += `a${level}: &a${level} [${Array(10)
      .fill(`*a${level - 1}`)
      .join(", ")}]\n`;
  const begin = process.cpuUsage();
  const { objects, issues } = parseManifest(text, "f.yaml");
  assert.equal(objects.length, 0);
  assert.deepEqual(
    issues.map(({ code }) => code),
    ["too-large"],
  );
  assert.ok(process.cpuUsage(begin).user < 5_000_000);
});

test("parseManifest refuses what refers to itself or to nothing", () => {
  assert.match(places("a: &a\n  b: *a\n")[0] ?? "", /contains it/);
  assert.match(places("a: *nope\n")[0] ?? "", /^1:4 /);
});

test("parseManifest refuses what is nested too deep", () => {
  for (const text of [
    "[".repeat(100_000),
    "{a: ".repeat(5000),
    `${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`,
    "- ".repeat(20_000),
  ]) {
    const { objects, issues } = parseManifest(text, "f.yaml");
    assert.equal(objects.length, 0);
    assert.ok(issues.length > 0);
  }
});

test("parseManifest says of what is nested too deep that it is, and where, and nothing of stacks", () => {
  const closed = (open: string, close: string, count: number): string => open.repeat(count) + close.repeat(count);
  for (const text of [
    `kind: A\nspec: ${closed("[", "]", 20_000)}`,
    `kind: A\nspec: ${closed("{a: ", "}", 20_000)}`,
    `kind: A\nspec: ${"[".repeat(20_000)}`,
    `kind: A\nspec: ${closed("[", "]", 500)}`,
    `{"kind": "A",\n"spec": ${closed("[", "]", 20_000)}}`,
  ]) {
    const [only, ...others] = places(text);
    assert.deepEqual(others, [], text.slice(0, 40));
    assert.match(only ?? "", /^2:\d+ too-large parse: nested more than 200 levels deep$/);
  }
});

test("parseManifest refuses tags that mean nothing here, with their places", () => {
  const said = (tag: string): string => `has the tag ${tag}, which means nothing here; leave it out`;
  const text =
    "kind: A\nspec:\n  a: !foo bar\n  b: !list\n    - 1\n  c: !!set {x}\n  !key d: 1\n  e: !<tag:x,1:y> z\n  f: !!int [1]\n";
  assert.deepEqual(places(text), [
    `3:11 value spec.a: ${said("!foo")}`,
    `5:5 value spec.b: ${said("!list")}`,
    `6:12 value spec.c: ${said("!!set")}`,
    `7:8 value spec: ${said("!key")}`,
    `8:19 value spec.e: ${said("tag:x,1:y")}`,
    `9:12 value spec.f: ${said("!!int")}`,
  ]);
  assert.deepEqual(places("!root\nkind: A\n"), [`2:1 value ${said("!root")}`]);
  assert.deepEqual(places("kind: ! A\na: !!map {b: !!seq [!!str 1]}\n"), []);
});

test("parseManifest refuses a text that is too large", () => {
  assert.deepEqual(
    parseManifest("#".repeat(33 * 1024 * 1024), "f.yaml").issues.map(({ code }) => code),
    ["too-large"],
  );
});

test("parseManifest refuses documents that are no object", () => {
  assert.deepEqual(places("- kind: A\n"), ["1:1 type is a list, not an object with apiVersion and kind"]);
  assert.deepEqual(places("hello\n"), ['1:1 type is "hello", not an object with apiVersion and kind']);
});

test("parseManifest reads JSON with tabs, one object after the other, with places", () => {
  const { objects, issues } = parseManifest(
    '{\n\t"kind": "A",\n\t"spec": {"ips": ["x",\n"\\u0041"]}\n}\n{"kind": "B"}',
    "f.json",
  );
  assert.deepEqual(issues, []);
  assert.deepEqual(
    objects.map(({ value }) => value),
    [{ kind: "A", spec: { ips: ["x", "A"] } }, { kind: "B" }],
  );
  assert.deepEqual(objects[0]?.positionOf("/spec/ips/1"), { file: "f.json", line: 4, column: 1 });
  assert.deepEqual(objects[1]?.positionOf("/kind"), { file: "f.json", line: 6, column: 2 });
});

test("parseManifest reads YAML in braces that is no JSON", () => {
  assert.deepEqual(parseManifest("{kind: A, on: yes}", "f.yaml").objects[0]?.value, { kind: "A", true: true });
});

test("parseManifest keeps __proto__ a name like any other", () => {
  for (const text of ['{"__proto__": {"x": 1}}', "__proto__: {x: 1}\n"]) {
    const value = parseManifest(text, "f").objects[0]?.value;
    assert.deepEqual(Object.keys(value ?? {}), ["__proto__"]);
    assert.equal((value as { x?: number } | undefined)?.x, undefined);
  }
});

test("parseManifest reads any JSON as JSON.parse does, with a place inside the text for every field", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(undefined, 2, "\t"), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      const { objects, issues } = parseManifest(text, "f.json");
      if (issues.some((issue) => issue.code === "value")) return;
      const lines = text.split("\n");
      assert.deepEqual(
        objects.length === 1 ? objects[0]?.value : undefined,
        String(value["kind"]).endsWith("List") ? objects[0]?.value : JSON.parse(text),
      );
      for (const key of Object.keys(value)) {
        const position = objects[0]?.positionOf(`/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`);
        assert.ok(lines[(position?.line ?? 0) - 1]?.slice((position?.column ?? 0) - 1).startsWith(JSON.stringify(key)));
      }
    }),
  );
});

test("parseManifest never throws, whatever it is given", () => {
  const pieces = fc.constantFrom(
    "a",
    ":",
    " ",
    "\n",
    "-",
    "[",
    "]",
    "{",
    "}",
    "&a",
    "*a",
    "!!int",
    "'",
    '"',
    "|",
    ">",
    "#",
    "<<",
    "?",
    ",",
    "\t",
    "%",
    "---",
    "...",
    "0x",
    "é",
    "\\",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => void parseManifest(parts.join(""), "f.yaml")),
    { numRuns: 3000 },
  );
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => void parseManifest(text, "f.yaml")),
    { numRuns: 1000 },
  );
});

test("parseManifest reads a text that begins with a byte order mark as if it had none", () => {
  for (const text of [
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n",
    "---\r\napiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: a\r\n",
    '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}',
  ]) {
    const plain = parseManifest(text, "a.yaml");
    const marked = parseManifest(`\uFEFF${text}`, "a.yaml");
    assert.deepEqual(marked.issues, []);
    assert.deepEqual(
      marked.objects.map(({ value }) => value),
      plain.objects.map(({ value }) => value),
    );
    assert.equal(
      marked.objects[0]?.positionOf("/metadata/name").line,
      plain.objects[0]?.positionOf("/metadata/name").line,
    );
  }
});

test("parseManifest tells of text above fields once, and what helps", () => {
  const { objects, issues } = parseManifest(
    "# Edit it\n./tools kubectl edit felixconfiguration default\n\n# Add:\nspec:\n  a: b\n",
    "f",
  );
  assert.equal(objects.length, 0);
  assert.deepEqual(
    issues.map(({ position, message }) => [position?.line, message]),
    [
      [
        2,
        'parse YAML: "./tools kubectl edit felixconfiguration…" is text, and something else follows it; if it is a command, remove it or put # before it',
      ],
    ],
  );
});

test("parseManifest tells of lines that are indented deeper than what they belong beside", () => {
  const { issues } = parseManifest("apiVersion: v1\n  kind: Pod\n  metadata:\n    name: x\n", "f");
  assert.deepEqual(
    issues.map(({ position, message }) => `${position?.line}:${position?.column} ${message}`),
    [
      "1:13 parse YAML: what is below is indented deeper, though this has its value already; indent both alike",
      "2:9 parse YAML: what is below is indented deeper, though this has its value already; indent both alike",
    ],
  );
});
