import assert from "node:assert/strict";
import { test } from "node:test";
import { findCondition, isConditionTrue, sameConditions, setConditions } from "./conditions.ts";
import type { Condition } from "./conditions.ts";

const ready: Condition = {
  type: "Ready",
  status: "True",
  reason: "InForce",
  message: "on 3 nodes",
  lastTransitionTime: "2023-01-01T00:00:00Z",
  observedGeneration: 1,
};

test("setConditions keeps the time of a status that stays, and takes the new one where it changes", () => {
  const [same] = setConditions(
    [ready],
    [{ ...ready, message: "on 4 nodes", observedGeneration: 2 }],
    1_700_000_000_000,
  );
  assert.deepEqual(same, { ...ready, message: "on 4 nodes", observedGeneration: 2 });
  const [changed] = setConditions([ready], [{ ...ready, status: "False", reason: "Failed" }], 1_700_000_000_000);
  assert.equal(changed?.lastTransitionTime, "2023-11-14T22:13:20Z");
});

test("setConditions leaves the conditions of others, in their order", () => {
  const other = { ...ready, type: "Other" };
  const added = setConditions([other, ready], [{ ...ready, type: "New" }, ready], 0);
  assert.deepEqual(
    added.map(({ type }) => type),
    ["Other", "Ready", "New"],
  );
  assert.equal(findCondition(added, "Other"), other);
  assert.ok(isConditionTrue(added, "New") && !isConditionTrue(added, "Absent"));
});

test("sameConditions does not mind times and order", () => {
  const other = { ...ready, type: "Other" };
  assert.ok(sameConditions([ready, other], [other, { ...ready, lastTransitionTime: "2024-01-01T00:00:00Z" }]));
  assert.ok(!sameConditions([ready], [{ ...ready, message: "else" }]));
  assert.ok(!sameConditions([ready], undefined));
  assert.ok(sameConditions(undefined, []));
});
