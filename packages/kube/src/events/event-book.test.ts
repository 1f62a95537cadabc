import assert from "node:assert/strict";
import { test } from "node:test";
import { EventBook } from "./event-book.ts";
import type { Happening } from "./kube-event.ts";

const wallMs = 1_700_000_000_000;
const regarding = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", namespace: "default", name: "x" };
const refused: Happening = {
  regarding,
  type: "Warning",
  reason: "Refused",
  action: "Load",
  note: "the verifier refused",
};
const book = (more = {}) => new EventBook({ controller: "bpfleet.io/agent", instance: "worker", ...more });

test("EventBook tells the first of a kind as an event of events.k8s.io", () => {
  const write = book().note(refused, { nowMs: 0, wallMs });
  assert.deepEqual(write, {
    do: "create",
    event: {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: { name: "x.60a24181e4001", namespace: "default" },
      eventTime: "2023-11-14T22:13:20.000000Z",
      reportingController: "bpfleet.io/agent",
      reportingInstance: "worker",
      type: "Warning",
      reason: "Refused",
      action: "Load",
      note: "the verifier refused",
      regarding,
    },
  });
});

test("EventBook forgets of which objects it told, when it may tell of them as of any other", () => {
  const mine = book({ burst: 2, refillMs: 100, most: 8 });
  for (let number = 0; number < 1000; number++)
    mine.note({ ...refused, regarding: { ...regarding, name: `${number}` } }, { nowMs: number, wallMs });
  assert.ok(mine.size <= 8 + 2 * 100 + 1, `${mine.size}`);
});

test("EventBook counts what comes again: the second time at once, further ones together", () => {
  const mine = book();
  const count = (nowMs: number) => mine.note(refused, { nowMs, wallMs: wallMs + nowMs })?.event.series?.count;
  mine.note(refused, { nowMs: 0, wallMs });
  assert.equal(count(1000), 2);
  for (let at = 2000; at < 50_000; at += 1000) assert.equal(count(at), undefined);
  assert.equal(mine.nextDueMs(), 61_000);
  assert.deepEqual(mine.due(60_999), []);
  const [write] = mine.due(61_000);
  assert.deepEqual(write?.event.series, { count: 50, lastObservedTime: "2023-11-14T22:14:09.000000Z" });
  assert.equal(mine.nextDueMs(), Infinity);
  assert.equal(mine.note(refused, { nowMs: 500_000, wallMs })?.do, "create");
});

test("EventBook takes another reason, note or object for another happening", () => {
  const mine = book();
  const others = [
    refused,
    { ...refused, reason: "Other" },
    { ...refused, note: "other" },
    { ...refused, regarding: { ...regarding, uid: "2" } },
  ];
  const names = others.map((happening) => mine.note(happening, { nowMs: 0, wallMs })?.event.metadata.name);
  assert.equal(new Set(names).size, 4);
});

test("EventBook tells twenty-five of one object at once, then one in five minutes, and others all the same", () => {
  const mine = book();
  const tell = (nowMs: number, note: string, name = "x") =>
    mine.note({ ...refused, note, regarding: { ...regarding, name } }, { nowMs, wallMs }) !== undefined;
  const told = Array.from({ length: 40 }, (_, index) => tell(0, String(index)));
  assert.equal(told.filter(Boolean).length, 25);
  assert.equal(mine.suppressed, 15);
  assert.ok(tell(0, "a", "y"));
  assert.ok(!tell(299_000, "b"));
  assert.ok(tell(300_000, "c"));
  assert.ok(!tell(300_001, "d"));
});

test("EventBook remembers a bounded number, and keeps notes within the API's kilobyte", () => {
  const mine = book({ most: 10 });
  for (let index = 0; index < 100; index++)
    mine.note({ ...refused, regarding: { ...regarding, name: `n${index}` } }, { nowMs: 0, wallMs });
  const again = mine.note({ ...refused, regarding: { ...regarding, name: "n0" } }, { nowMs: 1, wallMs });
  assert.equal(again?.do, "create");
  const long = mine.note({ ...refused, note: "ü🙂".repeat(400) }, { nowMs: 1, wallMs });
  const bytes = Buffer.byteLength(long?.event.note ?? "");
  assert.ok(bytes > 1010 && bytes <= 1024, String(bytes));
});
