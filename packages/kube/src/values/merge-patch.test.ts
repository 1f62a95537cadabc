import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { applyMergePatch, mergePatchBetween, sameJson } from "./merge-patch.ts";

/** A merge patch cannot set anything to null: that removes it. */
const json = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: "small" }, fc.string(), fc.integer(), fc.boolean(), fc.array(fc.nat(3)), tie("object")),
  object: fc.dictionary(fc.constantFrom("a", "b", "c", "__proto__", "constructor"), tie("value")),
}));

test("mergePatchBetween leads from one object to the other, and is nothing where they are the same", () => {
  fc.assert(
    fc.property(json.object, json.object, (before, after) => {
      const patch = mergePatchBetween(before, after);
      assert.equal(patch === undefined, sameJson(before, after));
      assert.ok(sameJson(patch === undefined ? before : applyMergePatch(before, patch), after));
    }),
  );
});

test("mergePatchBetween names what changed and no more", () => {
  const before = { metadata: { labels: { a: "1", b: "2" }, name: "x" }, spec: { list: [1, 2] } };
  const after = { metadata: { labels: { a: "1", c: "3" }, name: "x" }, spec: { list: [1] }, extra: undefined };
  assert.deepEqual(mergePatchBetween(before, after), {
    metadata: { labels: { b: null, c: "3" } },
    spec: { list: [1] },
  });
});

test("sameJson does not mind the order of keys, nor what is undefined", () => {
  assert.ok(sameJson({ a: 1, b: [{ c: 2, d: undefined }] }, { b: [{ c: 2 }], a: 1 }));
  assert.ok(!sameJson([1, 2], [2, 1]));
  assert.ok(!sameJson({ a: null }, {}));
  assert.ok(!sameJson([], {}));
});
