import assert from "node:assert/strict";
import { test } from "node:test";
import { blankText, readImports } from "./read-imports.ts";

test("readImports finds static, type, side-effect, re-exported and dynamic imports with their lines", () => {
  const source = [
    'import { a } from "a";',
    "import type {",
    "  B,",
    '} from "b";',
    'import "c";',
    'export * from "./d.ts";',
    'const e = await import("e");',
  ].join("\n");
  assert.deepEqual(readImports(source), [
    { specifier: "a", line: 1, isTypeOnly: false },
    { specifier: "b", line: 2, isTypeOnly: true },
    { specifier: "c", line: 5, isTypeOnly: false },
    { specifier: "./d.ts", line: 6, isTypeOnly: false },
    { specifier: "e", line: 7, isTypeOnly: false },
  ]);
});

test("readImports sees no import in a comment, a template or a declaration", () => {
  const source =
    '/* import "a"; */ // import "b"\nexport const text = `import "c"`;\nexport function from() { return "d"; }';
  assert.deepEqual(readImports(source), []);
});

test("readImports sees no import in a string", () => {
  assert.deepEqual(readImports(`check('import "a"');`), []);
});

test("blankText keeps offsets and does not take a string for a comment", () => {
  const source = 'const url = "http://x" + y; // gone';
  const code = blankText(source);
  assert.equal(code.length, source.length);
  assert.equal(code.trimEnd(), "const url =            + y;");
});
