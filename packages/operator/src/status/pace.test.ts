import assert from "node:assert/strict";
import { test } from "node:test";
import { betweenWritesMs, usualPace } from "./pace.ts";

test("betweenWritesMs tells numbers that always grow to no more agents a second in a large fleet than in one of 1,000", () => {
  const toldPerSecond = (nodes: number): number => (nodes * 1000) / betweenWritesMs(usualPace, nodes, "numbers");
  assert.equal(betweenWritesMs(usualPace, 3, "numbers"), 30_000);
  assert.ok(toldPerSecond(5000) <= toldPerSecond(1000), `${toldPerSecond(5000)} events a second for each object`);
});

test("betweenWritesMs tells states no slower than a millisecond for each node", () => {
  assert.equal(betweenWritesMs(usualPace, 3, "state"), 1000);
  assert.equal(betweenWritesMs(usualPace, 5000, "state"), 5000);
});
