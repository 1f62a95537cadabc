import assert from "node:assert/strict";
import { test } from "node:test";
import type { Happening } from "@bpfleet/kube";
import type { ObjectReport } from "../report.ts";
import { EventTeller } from "./event-teller.ts";

const ref = { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name: "pass" };

function report(counts: readonly number[], more: Partial<ObjectReport> = {}): ObjectReport {
  const events = counts.map((count, at) => ({
    type: "Warning" as const,
    reason: "HookOccupied",
    message: `attach ${at}: ${"x".repeat(2000)}`,
    count,
    firstTimestamp: "2026-01-01T00:00:00Z",
    lastTimestamp: "2026-01-01T00:00:00Z",
  }));
  const object = { apiVersion: "bpfd.io/v1alpha1", kind: "BpfProgramConfig", metadata: { name: "pass", uid: "u" } };
  return { ref, object, state: "failed", messages: [], events, ...more };
}

test("EventTeller tells each event once, again when it is counted, and anew of an object that came back", () => {
  const told: Happening[] = [];
  const teller = new EventTeller({ record: (happening) => void told.push(happening) }, () => undefined);
  teller.tell([report([1])]);
  teller.tell([report([1])]);
  assert.equal(told.length, 1);
  assert.equal(told[0]?.note.length, 1024);
  assert.equal(told[0]?.regarding.uid, "u");
  teller.tell([report([1, 1])]);
  teller.tell([report([2, 1])]);
  assert.equal(told.length, 3);
  teller.tell([]);
  teller.tell([report([2, 1])]);
  assert.equal(told.length, 5);
});

test("EventTeller points at made objects as the server knows them, and tells nothing of pods and nodes", () => {
  const told: Happening[] = [];
  const teller = new EventTeller({ record: (happening) => void told.push(happening) }, () => "real");
  teller.tell([report([1], { madeFrom: ref }), report([1], { ref: { ...ref, group: "", kind: "Pod" } })]);
  assert.deepEqual(
    told.map(({ regarding }) => regarding.uid),
    ["real"],
  );
});
