import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyPlan, type MapSpec, type NodePlan } from "@bpfleet/kernel";
import { samePlan } from "./same-plan.ts";

const map = (key: string, contents: MapSpec["contents"]): MapSpec => ({
  key,
  name: "m",
  definition: { type: "hash", keySize: 1, valueSize: 1, maxEntries: 4, flags: 0 },
  contents,
});
const entries = (...bytes: readonly number[]) => ({
  count: bytes.length,
  keys: Uint8Array.from(bytes),
  values: Uint8Array.from(bytes),
});
const refers = (slot: number, to: string): MapSpec["contents"] => ({
  kind: "refers",
  inner: { type: "hash", keySize: 1, valueSize: 1, maxEntries: 4, flags: 0 },
  entries: [{ slot, map: to }],
});
const plan: NodePlan = {
  ...emptyPlan,
  maps: [
    map("a", { kind: "live" }),
    map("b", { kind: "sealed", digest: "1", entries: entries(1, 2) }),
    map("c", { kind: "kept", prune: false, entries: entries(1, 2) }),
    map("d", refers(0, "b")),
  ],
  hooks: [{ key: "xdp/eth0", point: { hook: "xdp", interface: "eth0" }, members: [] }],
};
const withMap = (at: number, contents: MapSpec["contents"]): NodePlan => ({
  ...plan,
  maps: plan.maps.with(at, map(["a", "b", "c", "d"][at] ?? "", contents)),
});

test("samePlan takes equal plans for the same, whatever objects they are made of", () => {
  assert.equal(samePlan(plan, structuredClone(plan)), true);
  assert.equal(samePlan(emptyPlan, emptyPlan), true);
});

test("samePlan sees every difference that reaches the kernel", () => {
  const others: NodePlan[] = [
    { ...plan, hooks: [] },
    { ...plan, maps: plan.maps.slice(1) },
    withMap(0, { kind: "kept", prune: false, entries: entries() }),
    withMap(1, { kind: "sealed", digest: "2", entries: entries(1, 2) }),
    withMap(2, { kind: "kept", prune: true, entries: entries(1, 2) }),
    withMap(2, { kind: "kept", prune: false, entries: entries(1, 3) }),
    withMap(3, refers(1, "b")),
    withMap(3, refers(0, "c")),
    { ...plan, maps: plan.maps.map((each) => ({ ...each, pinPath: "/sys/fs/bpf/x" })) },
  ];
  for (const other of others) {
    assert.equal(samePlan(plan, other), false);
    assert.equal(samePlan(other, plan), false);
  }
});
