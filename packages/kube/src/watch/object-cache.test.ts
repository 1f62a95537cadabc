import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApiObject } from "../api-object.ts";
import { ObjectCache } from "./object-cache.ts";

interface Pod extends ApiObject {
  readonly node: string;
}

function pod(name: string, node: string, resourceVersion: string, uid: string = name): Pod {
  return { apiVersion: "v1", kind: "Pod", metadata: { namespace: "default", name, uid, resourceVersion }, node };
}

const byKey = (...pods: readonly Pod[]) => new Map(pods.map((each) => [`default/${each.metadata.name}`, each]));

test("ObjectCache tells the old and the new object of an update, and finds by index what is there now", () => {
  const cache = new ObjectCache<Pod>({ node: ({ node }) => [node] });
  const [old, renewed] = [pod("a", "n1", "1"), pod("a", "n2", "2")];
  assert.deepEqual(cache.upsert(old), [{ type: "added", key: "default/a", object: old }]);
  assert.deepEqual(cache.upsert(renewed), [{ type: "updated", key: "default/a", object: renewed, before: old }]);
  assert.deepEqual(cache.byIndex("node", "n1"), []);
  assert.deepEqual(cache.byIndex("node", "n2"), [renewed]);
  assert.deepEqual(cache.indexValues("node"), ["n2"]);
  assert.equal(cache.get("default", "a"), renewed);
  assert.throws(() => cache.byIndex("zone", "z"), /look up index zone: there is none/);
});

test("ObjectCache gives the last state of what was deleted, and says when that is only the last that was seen", () => {
  const cache = new ObjectCache<Pod>({ node: ({ node }) => [node] });
  const [a, b] = [pod("a", "n1", "1"), pod("b", "n1", "2")];
  cache.replace(byKey(a, b));
  const last = pod("a", "n1", "3");
  assert.deepEqual(cache.remove(last), [{ type: "deleted", key: "default/a", object: last, isLastState: true }]);
  assert.deepEqual(cache.remove(last), []);
  assert.deepEqual(cache.replace(new Map()), [{ type: "deleted", key: "default/b", object: b, isLastState: false }]);
  assert.deepEqual(cache.byIndex("node", "n1"), []);
});

test("ObjectCache tells nothing of what stayed as it was, and an object made anew under its name as two", () => {
  const cache = new ObjectCache<Pod>();
  const [same, old, other] = [pod("a", "n", "1"), pod("b", "n", "2", "u1"), pod("b", "n", "9", "u2")];
  cache.replace(byKey(same, old));
  assert.deepEqual(cache.replace(byKey({ ...same }, other)), [
    { type: "deleted", key: "default/b", object: old, isLastState: false },
    { type: "added", key: "default/b", object: other },
  ]);
  assert.equal(cache.get("default", "a"), same);
  assert.equal(cache.size, 2);
});
