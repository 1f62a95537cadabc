import assert from "node:assert/strict";
import { test } from "node:test";
import { namedCollections, type CollectionSight } from "./named-collections.ts";

const full = (name: string): CollectionSight => ({ name, isEmpty: false, isKnown: true });
const empty = (name: string): CollectionSight => ({ name, isEmpty: true, isKnown: true });
const lingerMs = 1000;

test("namedCollections names those with objects and those that were not read, and asks again for the latter", () => {
  const unread = { name: "b", isEmpty: false, isKnown: false };
  const { collections, againMs } = namedCollections([full("a"), unread, empty("c")], undefined, new Map(), 0, lingerMs);
  assert.deepEqual([...collections], ["a", "b"]);
  assert.ok(againMs !== undefined && againMs <= 1000);
  assert.equal(namedCollections([full("a")], undefined, new Map(), 0, lingerMs).againMs, undefined);
});

test("namedCollections leaves a collection that became empty in for a while, and only one that was in", () => {
  const since = new Map<string, number>();
  const before = new Set(["a"]);
  const at = (nowMs: number, sight: CollectionSight) =>
    namedCollections([sight, empty("never")], before, since, nowMs, lingerMs);
  assert.deepEqual(at(100, empty("a")), { collections: before, againMs: 1000 });
  assert.deepEqual(at(600, empty("a")), { collections: before, againMs: 500 });
  assert.deepEqual(at(700, full("a")), { collections: before, againMs: undefined });
  assert.deepEqual(at(800, empty("a")), { collections: before, againMs: 1000 });
  assert.deepEqual(at(1800, empty("a")), { collections: new Set(), againMs: undefined });
});
