import assert from "node:assert/strict";
import { test } from "node:test";
import { notSelectedReason, type PlanProblem } from "@bpfleet/kernel";
import { messagesOf, refusedStatus, standingOf } from "./object-fate.ts";

const origin = { object: { group: "cilium.io", kind: "CiliumNetworkPolicy", namespace: "x", name: "p" }, path: "" };
const note: PlanProblem = { origin, reason: "Warning", message: "it matches nothing", severity: "note" };
const refused: PlanProblem = { origin, reason: "Invalid", message: "it has a mistake", severity: "refused" };
const fate = { problems: [note, refused], items: [], counters: [] };

test("refusedStatus names the mistake, and no warning that stands before it", () => {
  const clock = { now: () => 0, monotonicMs: () => 0 };
  assert.deepEqual(refusedStatus(fate, clock), {
    conditions: [
      {
        type: "Ready",
        status: "False",
        reason: "Invalid",
        message: "it has a mistake",
        lastTransitionTime: "1970-01-01T00:00:00Z",
      },
    ],
  });
});

test("messagesOf tells notes of what is in force alone", () => {
  assert.deepEqual(messagesOf(fate, "failed"), ["it has a mistake"]);
  assert.deepEqual(messagesOf({ ...fate, problems: [note] }, "pending"), []);
  assert.deepEqual(messagesOf({ ...fate, problems: [note] }, "in-force"), ["it matches nothing"]);
});

test("standingOf tells what means other nodes, unless the kernel has something of it", () => {
  const problems = [{ ...note, reason: notSelectedReason }];
  assert.equal(standingOf({ ...fate, problems }), "not-selected");
  const items = [{ item: "hook", key: "tc-ingress/eth0", state: "in-force" }] as const;
  assert.equal(standingOf({ ...fate, problems, items }), undefined);
});
