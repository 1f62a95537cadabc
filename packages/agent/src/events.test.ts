import assert from "node:assert/strict";
import { test } from "node:test";
import { nextEvents } from "./events.ts";

const status = (...conditions: readonly [type: string, status: string, reason: string, message: string][]) => ({
  conditions: conditions.map(([type, value, reason, message]) => ({ type, status: value, reason, message })),
});

test("nextEvents tells each change of a condition once, and counts what comes again", () => {
  const missing = status(["Ready", "False", "InterfaceNotFound", "no eth9"]);
  const there = status(["Ready", "True", "Ready", "in force"]);
  let events = nextEvents([], undefined, missing, "t1");
  events = nextEvents(events, missing, missing, "t2");
  events = nextEvents(events, missing, there, "t3");
  events = nextEvents(events, there, missing, "t4");
  assert.deepEqual(events, [
    { type: "Normal", reason: "Ready", message: "in force", count: 1, firstTimestamp: "t3", lastTimestamp: "t3" },
    {
      type: "Warning",
      reason: "InterfaceNotFound",
      message: "no eth9",
      count: 2,
      firstTimestamp: "t1",
      lastTimestamp: "t4",
    },
  ]);
});

test("nextEvents tells one cause of several conditions once", () => {
  const after = status(
    ["Ready", "False", "Invalid", "bad"],
    ["Accepted", "False", "Invalid", "bad"],
    ["Loaded", "Unknown", "x", "y"],
  );
  assert.deepEqual(
    nextEvents([], undefined, after, "t").map(({ reason, count }) => [reason, count]),
    [["Invalid", 1]],
  );
});

test("nextEvents says nothing of what is still being done", () => {
  const pending = status(["Ready", "False", "InProgress", "not tried yet"], ["Accepted", "True", "Accepted", "served"]);
  const reasons = nextEvents([], undefined, pending, "t").map(({ type, reason }) => [type, reason]);
  assert.deepEqual(reasons, [["Normal", "Accepted"]]);
});

test("nextEvents warns of conditions that are bad news when they are true", () => {
  const after = status(
    ["Cause", "True", "ImageNotFound", "no such tag"],
    ["NotYetLoaded", "True", "ProgramsNotYetLoaded", "waiting"],
    ["ReconcileError", "True", "ReconcileError", "failed"],
  );
  assert.deepEqual(
    nextEvents([], undefined, after, "t").map(({ type, reason }) => `${type} ${reason}`),
    ["Warning ImageNotFound", "Normal ProgramsNotYetLoaded", "Warning ReconcileError"],
  );
});

test("nextEvents keeps the last twenty, and takes any status", () => {
  let events = nextEvents([], "nonsense", { conditions: [null, 7] }, "t");
  assert.deepEqual(events, []);
  for (let at = 0; at < 30; at++)
    events = nextEvents(events, undefined, status(["Ready", "False", `R${at}`, "m"]), "t");
  assert.deepEqual([events.length, events[0]?.reason, events.at(-1)?.reason], [20, "R10", "R29"]);
});
