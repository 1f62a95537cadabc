import assert from "node:assert/strict";
import { test } from "node:test";
import { renderUnusedTotals } from "./unused-rules.ts";

const none = { rules: [], counted: 3, tooYoung: 0 };

test("renderUnusedTotals says for how long rules decided on nothing", () => {
  assert.equal(renderUnusedTotals(none, undefined), "0 of 3 rules decided on no packet\n");
  assert.equal(
    renderUnusedTotals({ ...none, tooYoung: 2 }, "5m"),
    "0 of 3 rules decided on no packet in the last 5m\n2 more did not either, and are not counted for 5m yet\n",
  );
  assert.equal(renderUnusedTotals({ ...none, counted: 0 }, "5m"), "No policy selects a pod of this node\n");
});
