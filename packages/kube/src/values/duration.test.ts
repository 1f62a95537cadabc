import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseDuration, renderDuration } from "./duration.ts";

test("parseDuration reads what Go writes and what people write", () => {
  const cases: readonly (readonly [string, number | undefined])[] = [
    ["15s", 15_000],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    ["-2m", -120_000],
    ["+.5s", 500],
    ["100us", 0.1],
    ["100µs", 0.1],
    ["7ns", 7e-6],
    ["0", 0],
    ["", undefined],
    ["5", undefined],
    ["s", undefined],
    ["5 s", undefined],
    ["5d", undefined],
    ["1m-5s", undefined],
    [".s", undefined],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
});

test("renderDuration writes as Go does", () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, "0s"],
    [15_000, "15s"],
    [5_400_000, "1h30m0s"],
    [61_500, "1m1.5s"],
    [300, "300ms"],
    [0.1, "100µs"],
    [-2000, "-2s"],
  ];
  for (const [ms, text] of cases) assert.equal(renderDuration(ms), text);
});

test("parseDuration reads back what renderDuration wrote", () => {
  fc.assert(
    fc.property(fc.integer({ min: -1e12, max: 1e12 }), (ms) => {
      assert.equal(parseDuration(renderDuration(ms)), ms);
    }),
  );
});
