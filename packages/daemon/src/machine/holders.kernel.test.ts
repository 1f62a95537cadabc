import assert from "node:assert/strict";
import { test } from "node:test";
import { BpfMap } from "@bpfleet/native";
import { findHolders } from "./fdinfo.ts";
import { useOf } from "./node-maps.ts";

test("findHolders names the process that holds a map, and forgets it when it is closed", async () => {
  let id: number;
  {
    using map = BpfMap.create({ type: "hash", name: "held", keySize: 4, valueSize: 8, maxEntries: 64 });
    ({ id } = map.info);
    const own = (await findHolders()).find(({ pid }) => pid === process.pid);
    assert.ok(own);
    assert.ok(own.mapIds.includes(id));
    assert.notEqual(own.command, "");
    assert.ok(useOf(map).memoryBytes > 0n);
    assert.equal(useOf(map).isFrozen, false);
    map.freeze();
    assert.equal(useOf(map).isFrozen, true);
  }
  assert.ok(!(await findHolders()).some(({ pid, mapIds }) => pid === process.pid && mapIds.includes(id)));
});
