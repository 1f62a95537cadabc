import assert from "node:assert/strict";
import { test } from "node:test";
import { SaidLately } from "./said-lately.ts";

test("SaidLately says the same text again only after its time, and keeps no more texts than it may", () => {
  let now = 0;
  const said = new SaidLately({ monotonicMs: () => now }, { forMs: 100, most: 3 });
  assert.equal(said.isNews("a"), true);
  now = 99;
  assert.equal(said.isNews("a"), false);
  now = 100;
  assert.equal(said.isNews("a"), true);
  for (const text of ["b", "c", "d", "e"]) assert.equal(said.isNews(text), true);
  assert.equal(said.size, 3);
  assert.equal(said.isNews("e"), false);
  now = 300;
  assert.equal(said.isNews("f"), true);
  assert.equal(said.size, 1);
});
