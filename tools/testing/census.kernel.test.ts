import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { findLeaks, killLeftProcesses, markerVariable, takeCensus } from "./census.ts";

const marker = `census-${process.pid}`;

function addNamespace(t: TestContext, name: string): void {
  execFileSync("ip", ["netns", "add", name]);
  t.after(() => execFileSync("ip", ["netns", "delete", name]));
}

test("findLeaks names a network namespace whose process is gone", async (t) => {
  const before = takeCensus(marker);
  const ended = spawnSync("true");
  addNamespace(t, `bpfleet-census-${ended.pid}`);
  assert.deepEqual(await findLeaks(before, marker, 300), [`network namespace bpfleet-census-${ended.pid}`]);
});

test("findLeaks leaves out a network namespace of a process that no test started", async (t) => {
  const before = takeCensus(marker);
  addNamespace(t, `bpfleet-census-${process.ppid}`);
  assert.deepEqual(await findLeaks(before, marker, 300), []);
});

test("killLeftProcesses ends a process that carries the mark, and findLeaks names it before", async () => {
  const before = takeCensus(marker);
  const child = spawn("sleep", ["60"], { env: { ...process.env, [markerVariable]: marker } });
  await once(child, "spawn");
  const leaks = await findLeaks(before, marker, 300);
  assert.ok(leaks.includes(`process ${child.pid} (sleep 60)`), leaks.join());
  const ended = once(child, "exit");
  killLeftProcesses(marker);
  assert.deepEqual(await ended, [null, "SIGKILL"]);
});
