import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { diffEntries, indexEntries, noEntries, packEntries } from "./entries.ts";
import type { MapDefinition, MapType } from "./specs.ts";

const key = fc.integer({ min: 0, max: 7 }).map((at) => `0${at}000000`);
const value = fc.integer({ min: 0, max: 2 }).map((at) => Uint8Array.of(at, 0, 0, 0));
const entries = fc.dictionary(key, value, { noNullPrototype: true }).map((found) => Object.entries(found));
const definition = (type: MapType): MapDefinition => ({ type, keySize: 4, valueSize: 4, maxEntries: 8, flags: 0 });

test("indexEntries is the inverse of packEntries", () => {
  fc.assert(fc.property(entries, (given) => assert.deepEqual([...indexEntries(packEntries(given))], given)));
  assert.deepEqual(indexEntries(noEntries), new Map());
});

test("diffEntries makes the wanted entries, keeps those of others, and needs nothing more then", () => {
  fc.assert(
    fc.property(entries, entries, fc.uniqueArray(key), fc.boolean(), (wanted, present, owned, prune) => {
      const ours = new Set(owned);
      const { puts, deletes } = diffEntries(definition("hash"), packEntries(wanted), packEntries(present), ours, prune);
      const after = new Map<string, Uint8Array>(present);
      for (const [each, put] of indexEntries(puts)) after.set(each, put);
      for (const each of indexEntries(deletes).keys()) assert.ok(after.delete(each));
      const others = present.filter(([each]) => !prune && !ours.has(each));
      assert.deepEqual(byKey(after), byKey(new Map([...others, ...wanted])));
      const again = diffEntries(definition("hash"), packEntries(wanted), packEntries(after), ours, prune);
      assert.equal(again.puts.count + again.deletes.count, 0);
    }),
  );
});

test("diffEntries zeroes the entries of an array that it cannot delete", () => {
  const present = packEntries([
    ["00000000", Uint8Array.of(5, 0, 0, 0)],
    ["01000000", Uint8Array.of(6, 0, 0, 0)],
    ["02000000", new Uint8Array(4)],
  ]);
  const owned = new Set(["00000000", "02000000"]);
  const { puts, deletes } = diffEntries(definition("array"), noEntries, present, owned, false);
  assert.equal(deletes.count, 0);
  assert.deepEqual(indexEntries(puts), new Map([["00000000", new Uint8Array(4)]]));
});

test("diffEntries leaves what programs have written into per-CPU values", () => {
  const wanted = packEntries([
    ["00000000", Uint8Array.of(1, 0, 0, 0)],
    ["01000000", Uint8Array.of(1, 0, 0, 0)],
  ]);
  const present = packEntries([["00000000", Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0)]]);
  const { puts } = diffEntries(definition("percpu_hash"), wanted, present, new Set(), false);
  assert.deepEqual([...indexEntries(puts).keys()], ["01000000"]);
});

test("diffEntries puts everything when nothing is known of the map", () => {
  const wanted = packEntries([["00000000", Uint8Array.of(1, 0, 0, 0)]]);
  const { puts, deletes } = diffEntries(
    definition("hash"),
    wanted,
    undefined,
    new Set(["00000000", "01000000"]),
    false,
  );
  assert.deepEqual([...indexEntries(puts).keys()], ["00000000"]);
  assert.deepEqual([...indexEntries(deletes).keys()], ["01000000"]);
});

function byKey(found: ReadonlyMap<string, Uint8Array>): [string, Uint8Array][] {
  return [...found].toSorted(([a], [b]) => (a < b ? -1 : 1));
}
