import assert from "node:assert/strict";
import { test } from "node:test";
import { tellFollowed } from "./tell-followed.ts";

test("tellFollowed names whom the new leader follows, and why, and warns only of one that is lost", () => {
  const lastAt = "2026-01-02T03:04:05.000000Z";
  const told = (because: Parameters<typeof tellFollowed>[1]["because"], identity?: string): unknown => {
    const { message, happening } = tellFollowed("b", { because, identity, lastAt });
    assert.equal(happening.note, message);
    return [happening.type, happening.reason, message];
  };
  assert.deepEqual(told("ran out", "a"), [
    "Warning",
    "LeaderLost",
    `b leads: it follows a, which is lost: its lease ran out, last renewed at ${lastAt}`,
  ]);
  assert.deepEqual(told("released", "a"), [
    "Normal",
    "LeaderReleased",
    `b leads: it follows a, which released the lease at ${lastAt}`,
  ]);
  assert.deepEqual(told("own", "b"), [
    "Normal",
    "LeaderRestarted",
    `b leads: it follows itself: its own lease was last renewed at ${lastAt}`,
  ]);
  assert.deepEqual(told("there was none"), ["Normal", "LeaderElected", "b leads: there was no lease"]);
});
