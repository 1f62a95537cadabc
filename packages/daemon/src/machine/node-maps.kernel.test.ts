import assert from "node:assert/strict";
import { test } from "node:test";
import { KernelError, type ErrorCode } from "@bpfleet/base";
import { emptyPlan, FakeKernel, noEntries, slotsOf, type KernelPort } from "@bpfleet/kernel";
import { BpfMap } from "@bpfleet/native";
import { NodeMaps } from "./node-maps.ts";

test("NodeMaps lists the slots of a map of maps that are in use, and lets nobody write them", async () => {
  const kernel: KernelPort = new FakeKernel();
  const maps = new NodeMaps({ kernel, plan: () => emptyPlan, loadObject: async () => undefined });
  const of4 = { keySize: 4, valueSize: 4, maxEntries: 4 };
  using inner = BpfMap.create({ type: "array", name: "inner", ...of4 });
  using outer = BpfMap.create({ type: "array_of_maps", name: "outer", ...of4, innerMap: inner });
  outer.setRaw(word(2), word(inner.fd));
  const map = { by: "id", id: outer.info.id } as const;
  const { entries, isWhole } = await maps.read({ map, max: 10 });
  assert.deepEqual([...slotsOf(entries)], [[2, inner.info.id]]);
  assert.ok(isWhole);
  const one = await maps.read({ map, key: word(2), max: 1 });
  assert.deepEqual([...slotsOf(one.entries)], [[2, inner.info.id]]);
  await assert.rejects(maps.read({ map, key: word(1), max: 1 }), hasCode("not-found"));
  const puts = { count: 1, keys: word(1), values: word(inner.fd) };
  const deletes = { count: 1, keys: word(2), values: new Uint8Array(0) };
  for (const change of [
    { puts, deletes: noEntries },
    { puts: noEntries, deletes },
  ])
    await assert.rejects(maps.write({ map, ...change, force: true }), hasCode("not-supported"));
});

function word(number: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(number).buffer);
}

function hasCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof KernelError && error.code === code;
}
