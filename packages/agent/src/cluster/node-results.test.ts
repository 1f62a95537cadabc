import assert from "node:assert/strict";
import { test } from "node:test";
import type { ObjectReport } from "../report.ts";
import { numbersOf, resultsOfReports, textsOf } from "./node-results.ts";

const ref = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "a" };

function report(more: Partial<ObjectReport> = {}): ObjectReport {
  const object = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", metadata: { name: "a" } };
  return { ref, object, state: "in-force", messages: [], events: [], ...more };
}

test("numbersOf names every whole number of a status by its pointer, and none of its conditions", () => {
  const status = {
    observedGeneration: 3,
    conditions: [{ observedGeneration: 1 }],
    metrics: { packetsDropped: 7, ratio: 0.5, "a/b~c": -1, text: "5", list: [1], nothing: null },
    nested: { observedGeneration: 2 },
  };
  assert.deepEqual(numbersOf(status), {
    "/metrics/packetsDropped": 7,
    "/metrics/a~1b~0c": -1,
    "/nested/observedGeneration": 2,
  });
  assert.deepEqual(numbersOf(undefined), {});
});

test("textsOf names the texts of a status that mean something beside those of other nodes", () => {
  const status = { state: "Active", reason: "", node: "a", attachedTo: "eth0", metrics: { text: "x" }, count: 3 };
  assert.deepEqual(textsOf(status), { "/attachedTo": "eth0" });
  assert.deepEqual(textsOf(undefined), {});
});

test("resultsOfReports tells declared objects with the state that a cluster counts", () => {
  const reports = [
    report({ state: "waiting" }),
    report({ standing: "not-selected" }),
    report({ state: "failed", standing: "not-served" }),
    report({ state: "failed", messages: ["attach xdp/eth0: occupied (EBUSY)"] }),
    report({ ref: { group: "", kind: "Pod", namespace: "default", name: "p" } }),
    report({ madeFrom: ref }),
  ];
  const results = resultsOfReports(reports);
  assert.deepEqual(
    results.map(({ state }) => state),
    ["Waiting", "NotSelected", "NotServed", "Failed"],
  );
  assert.deepEqual(results[3]?.conditions, [
    { type: "Ready", status: "False", reason: "Failed", message: "attach xdp/eth0: occupied (EBUSY)" },
  ]);
});
