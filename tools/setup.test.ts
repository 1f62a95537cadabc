import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const hasFlock = spawnSync("sh", ["-c", "command -v flock"]).status === 0;

test("setup.sh waits for another one at work in the same place", { skip: !hasFlock && "no flock here" }, async () => {
  const place = mkdtempSync(join(tmpdir(), "bpfleet-setup-"));
  for (const folder of ["tools", "build"]) mkdirSync(join(place, folder));
  cpSync(join(import.meta.dirname, "setup.sh"), join(place, "tools/setup.sh"));
  const holder = spawn("flock", [join(place, "build/setup.lock"), "sh", "-c", "echo held; read -r end"]);
  try {
    await once(holder.stdout, "data");
    const waiting = spawn("sh", [join(place, "tools/setup.sh")], { detached: true });
    const [said] = await once(waiting.stdout.setEncoding("utf8"), "data");
    assert.equal(said, "setup: another one is at work here; waiting for its end\n");
    // With the flock that it waits in.
    process.kill(-(waiting.pid ?? 0), "SIGKILL");
    await once(waiting, "close");
  } finally {
    holder.stdin.end();
    await once(holder, "close");
    rmSync(place, { recursive: true });
  }
});
