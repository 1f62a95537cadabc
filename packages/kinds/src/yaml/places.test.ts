import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { joinPointer, pointerAtStart, renderPath } from "./places.ts";

test("pointerAtStart reads what renderPath wrote, whatever fields are called", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat(99), fc.string(), fc.constantFrom("spec", "a-b", "~1", "a/b"))), (steps) => {
      const pointer = ["spec", ...steps].reduce<string>(joinPointer, "");
      assert.equal(pointerAtStart(`${renderPath(pointer)}: selects no pod [1] that is there`), pointer);
    }),
  );
  assert.equal(pointerAtStart("the cluster has no pods"), "");
});
