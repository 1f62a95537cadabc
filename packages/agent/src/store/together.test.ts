import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { whenWhole } from "./together.ts";

test("whenWhole removes what processes left that were killed while they changed several files as one", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), `bpfleet-together-${process.pid}-`));
  t.after(() => rmSync(directory, { recursive: true }));
  const left = (pid: number): string => join(directory, `.together.${pid}.0.tmp`);
  const [ended, running] = [left(999_999_999), left(process.pid)];
  for (const path of [ended, running]) writeFileSync(path, "");
  const longAgo = Date.now() / 1000 - 60;
  utimesSync(running, longAgo, longAgo);
  assert.equal((await whenWhole(directory)).isWhole, true);
  assert.ok(existsSync(ended), "it may be of a process that is not seen from here");
  utimesSync(ended, longAgo, longAgo);
  await whenWhole(directory);
  assert.deepEqual([existsSync(ended), existsSync(running)], [false, true]);
  assert.equal((await whenWhole(join(directory, "nowhere"))).isWhole, true);
});
