import assert from "node:assert/strict";
import { test } from "node:test";
import type { ObjectReport } from "@bpfleet/agent";
import { isMet, parseWish } from "./wish-for.ts";

function report(conditions: readonly object[], generation = 1): ObjectReport {
  const object = {
    apiVersion: "v1",
    kind: "X",
    metadata: { name: "x", generation },
    status: { conditions, state: "Active" },
  };
  const ref = { group: "", kind: "X", namespace: "", name: "x" };
  return { ref, object, state: "in-force", messages: [], events: [] };
}

test("parseWish reads kubectl's words, and refuses others", () => {
  assert.deepEqual(parseWish("condition=Ready"), { for: "condition", type: "Ready", status: "true" });
  assert.deepEqual(parseWish("condition=Ready=False"), { for: "condition", type: "Ready", status: "False" });
  assert.deepEqual(parseWish("delete"), { for: "delete" });
  assert.deepEqual(parseWish("jsonpath={.status.state}=Active"), {
    for: "jsonpath",
    path: "{.status.state}",
    value: "Active",
  });
  assert.deepEqual(parseWish('jsonpath={.a[?(@.b=="c")].d}'), {
    for: "jsonpath",
    path: '{.a[?(@.b=="c")].d}',
    value: undefined,
  });
  for (const text of ["", "ready", "condition=", "condition=a=b=c", "jsonpath=", "state=x"])
    assert.throws(() => parseWish(text), /unrecognized condition/, text);
});

test("isMet judges conditions, their generation, values and presence", () => {
  const ready = report([{ type: "Ready", status: "True", observedGeneration: 1 }]);
  assert.equal(isMet(parseWish("condition=ready"), ready), true);
  assert.equal(isMet(parseWish("condition=Ready=false"), ready), false);
  assert.equal(isMet(parseWish("condition=Loaded"), ready), false);
  assert.equal(
    isMet(parseWish("condition=Ready"), report([{ type: "Ready", status: "True", observedGeneration: 1 }], 2)),
    false,
  );
  assert.equal(isMet(parseWish("condition=Loaded"), report([{ type: "Loaded", status: "True" }], 9)), true);
  assert.equal(isMet(parseWish("jsonpath={.status.state}=Active"), ready), true);
  assert.equal(isMet(parseWish("jsonpath={.status.state}=Gone"), ready), false);
  assert.equal(isMet(parseWish("jsonpath={.status.state}"), ready), true);
  assert.equal(isMet(parseWish("jsonpath={.status.none}"), ready), false);
  assert.deepEqual(
    ["delete", "create"].map((text) => [isMet(parseWish(text), ready), isMet(parseWish(text), undefined)]),
    [
      [false, true],
      [true, false],
    ],
  );
});
