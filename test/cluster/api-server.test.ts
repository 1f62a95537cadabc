import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { sweepFolders } from "./api-server.ts";

test("sweepFolders removes what processes left that are gone, and nothing of those that run", () => {
  const { pid: ended } = spawnSync("true");
  const folders = [ended, process.pid].map((pid) => join(tmpdir(), `bpfleet-cluster-${pid}-sweep`));
  const other = join(tmpdir(), `bpfleet-other-${ended}-sweep`);
  try {
    for (const folder of [...folders, other]) mkdirSync(join(folder, "etcd"), { recursive: true });
    sweepFolders();
    assert.deepEqual([...folders, other].map(existsSync), [false, true, true]);
  } finally {
    for (const folder of [...folders, other]) rmSync(folder, { recursive: true, force: true });
  }
});
