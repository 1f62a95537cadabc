import assert from "node:assert/strict";
import { test } from "node:test";
import { Silence } from "./silence.ts";

test("Silence judges a node that came back by its own time, and remembers none that is gone", () => {
  let now = 0;
  const silence = new Silence({ monotonicMs: () => now });
  const away = { isThere: true, isReady: false };
  silence.see("a", away);
  silence.wrote("a");
  now = 100;
  assert.equal(silence.forMs("a"), 100);
  // Its pods may be told of after the node, or the node after its pods.
  silence.forgetNode("a");
  silence.forgetReport("a");
  silence.see("a", { isThere: false, isReady: false });
  assert.equal(silence.size, 0);
  now = 1000;
  silence.see("a", away);
  now = 1030;
  assert.equal(silence.forMs("a"), 30);
  silence.see("a", { isThere: true, isReady: true });
  now = 2000;
  silence.see("a", away);
  assert.equal(silence.forMs("a"), 0);
  silence.wrote("a");
  now = 2050;
  silence.see("a", away);
  assert.equal(silence.forMs("a"), 50);
});
