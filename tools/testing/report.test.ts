import assert from "node:assert/strict";
import { test } from "node:test";
import { listFailures, type SuiteReport } from "./report.ts";

test("listFailures says of each failure in a line how it began, and of problems what they are", () => {
  const [passed, failed] = ["passed", "failed"] as const;
  const cause = `AssertionError: it took 17 s\n    at ${"x".repeat(1000)}`;
  const report: SuiteReport = {
    suite: "unit",
    ms: 1,
    files: [
      {
        file: "a.test.ts",
        ms: 1,
        tests: [
          { name: "a.test.ts > good", outcome: passed, ms: 1, text: "" },
          { name: "a.test.ts > bad", outcome: failed, ms: 1, text: cause },
        ],
        output: "",
      },
    ],
    problems: ["a.test.ts: left behind namespace a"],
  };
  const [bad = "", ...problems] = listFailures(report);
  assert.match(bad, /^a\.test\.ts > bad: AssertionError: it took 17 s at x+…$/);
  assert.ok(bad.length < 500);
  assert.deepEqual(problems, ["a.test.ts: left behind namespace a"]);
});
