import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import type { FileResult } from "./run-file.ts";

const root = join(import.meta.dirname, "testdata");

/** In a process of its own: node:test runs no files from within a test. */
function runFixture(file: string, timeoutMs = 20_000): FileResult {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const text = execFileSync(process.execPath, [join(root, "run-fixture.ts"), file, String(timeoutMs)], {
    env,
    encoding: "utf8",
  });
  return JSON.parse(text) as FileResult;
}

const outcomes = ({ tests }: FileResult): string[] =>
  tests.map(({ name, outcome, text }) => `${outcome} ${name} ${text}`.trim());

test("runFile tells each test once, with its groups and the reason of a skip", () => {
  const [passed, skipped, todo, failed, ...rest] = outcomes(runFixture("outcomes.test.ts"));
  assert.equal(passed, "passed outcomes.test.ts > passes");
  assert.equal(skipped, "skipped outcomes.test.ts > skips the kernel refuses it");
  assert.equal(todo, "skipped outcomes.test.ts > is to be done no reason given");
  assert.match(failed ?? "", /^failed outcomes\.test\.ts > group > fails AssertionError/);
  assert.deepEqual(rest, []);
});

test("runFile fails a file without a test", () => {
  assert.deepEqual(outcomes(runFixture("empty.test.ts")), ["failed empty.test.ts the file has no test"]);
});

test("runFile fails a file whose process ends early", () => {
  assert.deepEqual(outcomes(runFixture("crash.test.ts")), ["failed crash.test.ts the process failed, see its output"]);
});

test("runFile fails a file that throws after its tests, and keeps what it threw", () => {
  const result = runFixture("late.test.ts");
  assert.equal(outcomes(result)[1], "failed late.test.ts the process failed, see its output");
  assert.match(result.output, /too late/);
});

test("runFile ends a file that takes too long, and says in which test it was", () => {
  const result = runFixture("hang.test.ts", 1_500);
  assert.ok(result.ms < 10_000, `it took ${result.ms} ms`);
  assert.match(outcomes(result).at(-1) ?? "", /^failed hang\.test\.ts not done after 1\.5 s; in waits$/);
});
