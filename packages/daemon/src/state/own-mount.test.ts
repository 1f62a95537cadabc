import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { forgetOwnMount, isOwnMount, rememberOwnMount } from "./own-mount.ts";

test("isOwnMount knows the very mount that was remembered, until it is forgotten", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-own-mount-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const [own, other] = [join(directory, "own"), join(directory, "other")];
  for (const path of [own, other]) mkdirSync(path);
  assert.equal(isOwnMount(directory, own), false);
  rememberOwnMount(directory, own);
  assert.equal(isOwnMount(directory, own), true);
  assert.equal(isOwnMount(directory, other), false);
  assert.equal(isOwnMount(directory, "/proc"), false);
  forgetOwnMount(directory);
  assert.equal(isOwnMount(directory, own), false);
});
