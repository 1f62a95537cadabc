import assert from "node:assert/strict";
import { test } from "node:test";
import { judge } from "./judge.ts";

const bystander = { name: "permitted", expect: "pass", sent: 400, arrived: 389, allowed: 30_000 } as const;
const flooder = { name: "flooder", expect: "limit", sent: 60_000, arrived: 29_800, allowed: 30_000 } as const;

test("judge tells what a busy machine lost from what the filter dropped", () => {
  const lossy = judge([bystander, flooder], 30_000);
  assert.deepEqual(lossy, {
    notes: ["211 more were lost by the busy machine, before or behind the filter"],
    failures: [],
  });
  const exact = judge([bystander, flooder], 30_211);
  assert.deepEqual(exact.failures, ["permitted: 389 of 400 packets arrived, which is not what was declared (pass)"]);
});

test("judge fails a scene whose packets the filter let through, or dropped against its word", () => {
  const failed = (expect: "pass" | "drop" | "limit", arrived: number, dropped: number) =>
    judge([{ name: "a", expect, sent: 400, arrived, allowed: 300 }], dropped).failures.length > 0;
  assert.deepEqual(
    [
      failed("drop", 1, 399),
      failed("drop", 0, 0),
      failed("pass", 399, 1),
      failed("pass", 0, 0),
      failed("limit", 400, 0),
    ],
    [true, true, true, true, true],
  );
  assert.deepEqual(
    [failed("drop", 0, 400), failed("pass", 400, 0), failed("pass", 399, 0), failed("limit", 300, 100)],
    [false, false, false, false],
  );
  assert.equal(failed("limit", 301, 99), true);
});

test("judge says when a flood was none", () => {
  assert.deepEqual(judge([{ ...flooder, sent: 43_289, arrived: 43_289, allowed: 50_000 }], 0), {
    notes: ["flooder: the busy machine sends no faster than is allowed"],
    failures: [],
  });
});
