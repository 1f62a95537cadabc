import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../..");
const rows = readFileSync(join(root, "docs/acceptance.md"), "utf8")
  .split("\n")
  .flatMap((line) => {
    const [, file, title] = /^\|.*\| `([^`]+\.test\.ts)` *\| `(.+)` *\|$/.exec(line) ?? [];
    return file === undefined || title === undefined ? [] : [{ line, file, title }];
  });

test("docs/acceptance.md names tests that there are, by their titles", () => {
  assert.ok(rows.length > 50);
  const missing = rows.filter(({ file, title }) => {
    const path = join(root, file);
    const quotes = ['"', "`", "'"];
    return !existsSync(path) || !quotes.some((quote) => readFileSync(path, "utf8").includes(quote + title + quote));
  });
  assert.deepEqual(
    missing.map(({ line }) => line),
    [],
  );
});

test("docs/acceptance.md has every case of bpfd, in order", () => {
  const numbers = readFileSync(join(root, "docs/acceptance.md"), "utf8").matchAll(/^\| (\d+) /gm);
  assert.deepEqual(
    Array.from(numbers, ([, number]) => Number(number)),
    Array.from({ length: 22 }, (_, at) => at + 1),
  );
});

test("docs/acceptance.md has every section of the guide of policies, in order", () => {
  const sections = readFileSync(join(root, "docs/guides/policy.md"), "utf8").matchAll(/^## (\d+\. .+)$/gm);
  const told = readFileSync(join(root, "docs/acceptance.md"), "utf8").matchAll(/^\| (\d+\. [^|]+?) \|/gm);
  assert.deepEqual(
    Array.from(told, ([, section]) => section),
    Array.from(sections, ([, section]) => section),
  );
});
