import assert from "node:assert/strict";
import { test } from "node:test";
import { kinds, type NodeStateResult } from "@bpfleet/kinds";
import { ClusterRecords } from "./cluster-records.ts";

const ref = (name: string) => ({ group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name });

function result(name: string, more: Partial<NodeStateResult> = {}): NodeStateResult {
  return { ...ref(name), state: "InForce", conditions: [], numbers: {}, observedGeneration: 2, ...more };
}

test("ClusterRecords knows from the node's object what an earlier run served, of which generation", async () => {
  const ready = { type: "Ready", status: "True", reason: "Ready", message: "in force" } as const;
  const results = [result("a", { conditions: [ready] }), result("b"), result("c", { state: "NotServed" })];
  const now: Readonly<Record<string, number>> = { a: 3, b: 2, c: 9 };
  const records = new ClusterRecords(
    async () => ({ nodeState: { observedAt: "2026-01-01T00:00:00Z", results }, made: [] }),
    ({ name }) => now[name],
  );
  await records.load();
  assert.deepEqual(
    ["a", "b", "c", "d"].map((name) => records.wasServed(ref(name))),
    [true, false, false, false],
  );
  assert.deepEqual(records.find(ref("a"))?.status, {
    conditions: [{ ...ready, lastTransitionTime: "2026-01-01T00:00:00Z" }],
  });
  await records.keepOnly([ref("b")]);
  assert.deepEqual(
    records.all().map((record) => record.ref.name),
    ["b"],
  );
});

test("ClusterRecords remembers objects that were made, and of which they were", async () => {
  const kind = kinds.find((each) => each.kind === "BpfProgram");
  assert.ok(kind);
  const owner = { apiVersion: "bpfd.io/v1alpha1", kind: "BpfProgramConfig", name: "pass", uid: "u" };
  const object = {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgram",
    metadata: { name: "pass-n1", uid: "v", generation: 4, ownerReferences: [owner] },
    spec: { programs: {} },
    status: { conditions: [{ type: "Loaded" }] },
  };
  const made = [{ kind, ref: { group: "bpfd.io", kind: "BpfProgram", namespace: "", name: "pass-n1" }, object }];
  const records = new ClusterRecords(
    async () => ({ nodeState: undefined, made }),
    () => undefined,
  );
  await records.load();
  const config = { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name: "pass" };
  assert.deepEqual(
    records.madeFrom([config]).map(({ name }) => name),
    ["pass-n1"],
  );
  const [record] = records.all();
  assert.deepEqual([record?.uid, record?.generation, record?.made?.from], ["v", 4, config]);
  assert.deepEqual(record?.status, { conditions: [{ type: "Loaded" }] });
});
