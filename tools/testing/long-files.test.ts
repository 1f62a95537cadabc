import assert from "node:assert/strict";
import { test } from "node:test";
import { renderLeft, runLongFiles } from "./long-files.ts";
import type { SuiteReport } from "./report.ts";
import { suites } from "./suites.ts";

const suite = suites.find(({ name }) => name === "e2e") ?? assert.fail("no e2e");
const shorter: SuiteReport = { suite: "e2e", ms: 100, files: [], problems: ["a"] };
const long = ["test/a.long.e2e.test.ts", "test/b.long.e2e.test.ts"];

function run(beginsAt: readonly number[]): ReturnType<typeof runLongFiles> {
  const clock = beginsAt.values();
  return runLongFiles({
    long: new Map([[suite, long]]),
    reports: [{ suite: "unit", ms: 5, files: [], problems: [] }, shorter],
    minutes: () => clock.next().value ?? assert.fail("asked once more"),
    run: (of, [file = ""]) => Promise.resolve({ suite: of.name, ms: 10, files: [], problems: [file] }),
  });
}

test("runLongFiles runs them where there is time, as part of their suite", async () => {
  const { reports, left } = await run([30, 41.9]);
  assert.deepEqual(left, []);
  assert.deepEqual(reports, [
    { suite: "unit", ms: 5, files: [], problems: [] },
    { suite: "e2e", ms: 120, files: [], problems: ["a", ...long] },
  ]);
});

test("runLongFiles leaves those that would begin too late, and renderLeft says so", async () => {
  const late = await run([30, 42]);
  assert.deepEqual(late.left, [long[1]]);
  assert.deepEqual(late.reports[1]?.problems, ["a", long[0]]);
  assert.deepEqual((await run([50])).left, long);
  assert.deepEqual(renderLeft(long), [
    "- test/a.long.e2e.test.ts was left out, since it would begin more than 42 minutes after the first: make test-e2e runs it",
    "- test/b.long.e2e.test.ts was left out, since it would begin more than 42 minutes after the first: make test-e2e runs it",
  ]);
});
