import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { StateFile } from "./state-file.ts";

test("StateFile.save names the file that it cannot write and what helps, and leaves no draft", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-state-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "plan");
  mkdirSync(join(path, "in the way"), { recursive: true });
  await assert.rejects(
    new StateFile(path, "plan", 1).save("text"),
    (error) =>
      error instanceof Error &&
      error.message.startsWith(`write ${path}: `) &&
      error.message.endsWith("; make it writable, or choose another folder with --state"),
  );
  assert.deepEqual(readdirSync(folder), ["plan"]);
});
