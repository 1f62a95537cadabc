import assert from "node:assert/strict";
import { test } from "node:test";
import { didYouMean, findNearest } from "./suggest.ts";

test("findNearest finds slips of the finger and nothing else", () => {
  const known = ["interface", "priority", "settings", "type", "xdp"];
  assert.equal(findNearest("interfce", known), "interface");
  assert.equal(findNearest("Interface", known), "interface");
  assert.equal(findNearest("xpd", known), "xdp");
  assert.equal(findNearest("piority", known), "priority");
  assert.equal(findNearest("banana", known), undefined);
  assert.equal(findNearest("a", known), undefined);
});

test("didYouMean says nothing when nothing is near", () => {
  assert.equal(didYouMean("setings", ["settings"]), "; did you mean settings?");
  assert.equal(didYouMean("foo", ["settings"]), "");
});
