import assert from "node:assert/strict";
import { test } from "node:test";
import { WriteSpread } from "./write-spread.ts";

test("WriteSpread lets one node write at once, and many no faster than a server of many takes it", () => {
  const spread = new WriteSpread();
  assert.equal(spread.windowMs(1), 0);
  assert.equal(spread.windowMs(1024), 5120);
  assert.equal(spread.windowMs(8192), 40_960);
});

test("WriteSpread grows while answers are slow or refused, up to a bound, and shrinks again with quick ones", () => {
  const spread = new WriteSpread();
  spread.answered(3000);
  assert.equal(spread.windowMs(8192), 81_920);
  spread.turnedAway();
  assert.equal(spread.windowMs(8192), 163_840);
  for (let at = 0; at < 10; at++) spread.turnedAway();
  assert.equal(spread.windowMs(8192), 327_680);
  spread.answered(600);
  assert.equal(spread.windowMs(8192), 327_680);
  for (let at = 0; at < 3; at++) spread.answered(20);
  assert.equal(spread.windowMs(8192), 40_960);
});

test("WriteSpread spreads in a small fleet too once its server is busy", () => {
  const spread = new WriteSpread();
  spread.turnedAway();
  assert.equal(spread.windowMs(1), 4000);
});
