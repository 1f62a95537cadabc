import assert from "node:assert/strict";
import { describe, it, test } from "node:test";

test("passes", () => {});
test("skips", (t) => t.skip("the kernel refuses it"));
test("is to be done", { todo: true }, () => {});
describe("group", () => {
  it("fails", () => assert.equal(1, 2));
});
