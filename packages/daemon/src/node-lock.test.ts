import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { KernelError } from "@bpfleet/base";
import { lockFolder } from "./node-lock.ts";

const nobody = 65534;

test("lockFolder tells a folder that one may not open from a defect", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-lock-"));
  t.after(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0);
  const isRoot = process.getuid?.() === 0;
  if (isRoot) process.seteuid?.(nobody);
  try {
    assert.throws(
      () => lockFolder(folder),
      (error) => error instanceof KernelError && error.code === "no-permission" && error.errno === "EACCES",
    );
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});
