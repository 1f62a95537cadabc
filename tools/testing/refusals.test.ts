import assert from "node:assert/strict";
import { test } from "node:test";
import { findStaleRefusals, judgeSkips } from "./refusals.ts";
import type { TestResult } from "./run-file.ts";

const list = {
  absences: ["^go is not installed"],
  incapacities: ["^this machine refuses "],
  kernels: [{ release: "^6\\.18\\.", refusals: [{ test: "a.test.ts > attaches fentry", reason: "ENOTSUPP" }] }],
};
const result = (name: string, outcome: TestResult["outcome"], text = ""): TestResult => ({
  name,
  outcome,
  ms: 1,
  text,
});

test("judgeSkips accepts a skip that is listed with its reason", () => {
  const judged = judgeSkips([result("a.test.ts > attaches fentry", "skipped", "ENOTSUPP")], list, "6.18.4", true);
  assert.deepEqual(judged, { problems: [], allowed: [] });
});

test("judgeSkips refuses a skip that is not listed", () => {
  const { problems } = judgeSkips([result("a.test.ts > loads", "skipped", "later")], list, "6.18.4", false);
  assert.match(problems[0] ?? "", /loads: skipped \(later\), which is not listed for kernel 6\.18\.4/);
});

test("judgeSkips refuses another reason than the listed one", () => {
  const { problems } = judgeSkips([result("a.test.ts > attaches fentry", "skipped", "EPERM")], list, "6.18.4", false);
  assert.match(problems[0] ?? "", /EPERM.*another reason \(ENOTSUPP\)/);
});

test("judgeSkips refuses a listed refusal that now runs", () => {
  const { problems } = judgeSkips([result("a.test.ts > attaches fentry", "passed")], list, "6.18.4", false);
  assert.match(problems[0] ?? "", /ran, but is listed as refused/);
});

test("judgeSkips tells skips on a kernel that is not listed, and refuses them when strict", () => {
  const skip = [result("a.test.ts > attaches fentry", "skipped", "ENOTSUPP")];
  assert.equal(judgeSkips(skip, list, "6.1.0", false).allowed.length, 1);
  assert.equal(judgeSkips(skip, list, "6.1.0", false).problems.length, 0);
  assert.equal(judgeSkips(skip, list, "6.1.0", true).problems.length, 1);
});

test("judgeSkips allows a skip for what the machine lacks, but not when strict", () => {
  const skip = [result("b.cluster.test.ts > applies", "skipped", "go is not installed; install it")];
  assert.deepEqual(judgeSkips(skip, list, "6.18.4", false).problems, []);
  assert.equal(judgeSkips(skip, list, "6.18.4", true).problems.length, 1);
});

test("judgeSkips tells a skip for what no setup can mend, also when strict", () => {
  const skip = [result("c.e2e.test.ts > runs", "skipped", "this machine refuses a node: unshare failed")];
  assert.deepEqual(judgeSkips(skip, list, "6.18.4", true).problems, []);
  assert.match(judgeSkips(skip, list, "6.18.4", true).allowed[0] ?? "", /unshare failed/);
});

test("findStaleRefusals names a listed test that is gone, but only of files that ran", () => {
  assert.equal(findStaleRefusals([], list, ["a.test.ts"]).length, 1);
  assert.equal(findStaleRefusals([], list, ["b.test.ts"]).length, 0);
});
