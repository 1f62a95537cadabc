import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDuration } from "./duration.ts";

test("parseDuration reads what Go writes, and plain seconds", () => {
  const cases: [string, number][] = [
    ["500ms", 500],
    ["30s", 30_000],
    ["1m30s", 90_000],
    ["2h", 7_200_000],
    ["7d", 604_800_000],
    ["5", 5000],
    ["0.5s", 500],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms);
  for (const text of ["", "5w", "s", "1h1", "-1s"]) assert.throws(() => parseDuration(text), /invalid duration/);
});
