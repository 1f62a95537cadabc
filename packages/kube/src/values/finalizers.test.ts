import assert from "node:assert/strict";
import { test } from "node:test";
import { addFinalizerPatch, ownedBy, removeFinalizerPatch } from "./finalizers.ts";

test("addFinalizerPatch adds one beside others, once, and not to what is being deleted", () => {
  const path = "/metadata/finalizers";
  assert.deepEqual(addFinalizerPatch({ metadata: {} }, "mine"), [{ op: "add", path, value: ["mine"] }]);
  assert.deepEqual(addFinalizerPatch({ metadata: { finalizers: ["a"] } }, "mine"), [
    { op: "test", path, value: ["a"] },
    { op: "replace", path, value: ["a", "mine"] },
  ]);
  assert.equal(addFinalizerPatch({ metadata: { finalizers: ["mine"] } }, "mine"), undefined);
  assert.equal(addFinalizerPatch({ metadata: { deletionTimestamp: "2023-01-01T00:00:00Z" } }, "mine"), undefined);
});

test("removeFinalizerPatch takes one and leaves others", () => {
  const path = "/metadata/finalizers";
  assert.deepEqual(removeFinalizerPatch({ metadata: { finalizers: ["a", "mine"] } }, "mine"), [
    { op: "test", path, value: ["a", "mine"] },
    { op: "replace", path, value: ["a"] },
  ]);
  assert.equal(removeFinalizerPatch({ metadata: {} }, "mine"), undefined);
});

test("ownedBy refers to an object of the server only", () => {
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: "n", uid: "u" } };
  assert.deepEqual(ownedBy(node), { apiVersion: "v1", kind: "Node", name: "n", uid: "u" });
  assert.equal(ownedBy(node, { isController: true }).controller, true);
  assert.throws(() => ownedBy({ ...node, metadata: { name: "n" } }), /own by Node n: it has no uid/);
});
