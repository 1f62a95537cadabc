import assert from "node:assert/strict";
import { test } from "node:test";
import { renderSampleCost } from "./sample-cost.ts";

test("renderSampleCost tells the window, what was timed, and the CPU time that it took", () => {
  // Each reading takes 50 ns by this clock.
  let nowMs = 0;
  const clock = { now: () => 0, monotonicMs: () => (nowMs += 50e-6) };
  const sample = (runs: bigint) => ({ windowMs: 200.4, switchingMs: 0.52, runs: [{ programId: 1, runs, timeNs: 5n }] });
  assert.equal(
    renderSampleCost(sample(10n), clock),
    "statistics were on for 200 ms (switching took 0.5 ms): 10 runs were timed, each at the cost of two clock readings, less than 0.1 ms of CPU time in all",
  );
  assert.match(renderSampleCost(sample(100_000n), clock), /, about 10\.0 ms of CPU time in all \(5\.0 % of one CPU\)$/);
});
