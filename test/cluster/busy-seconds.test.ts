import assert from "node:assert/strict";
import { test } from "node:test";
import { busySeconds } from "./busy-seconds.ts";

test("busySeconds stretches a limit by two seconds at most, but on a machine that is overloaded beyond doubt", () => {
  assert.deepEqual([0, 1, 2, 3, 5, 6, 8].map(busySecondsOf), [0, 0, 0.5, 1, 2, 2, 2]);
  assert.equal(busySeconds(17), 8);
});

function busySecondsOf(timesAsMuch: number): number {
  return busySeconds(timesAsMuch);
}
