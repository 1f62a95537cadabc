import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { findAdded, findRemaining, killLeftProcesses, markerVariable, takeCensus } from "./census.ts";

const marker = `census-${process.pid}`;

function addNamespace(t: TestContext, name: string): void {
  execFileSync("ip", ["netns", "add", name]);
  t.after(() => execFileSync("ip", ["netns", "delete", name]));
}

test("findRemaining names a network namespace whose process is gone", async (t) => {
  const before = takeCensus(marker);
  const ended = spawnSync("true");
  addNamespace(t, `bpfleet-census-${ended.pid}`);
  const key = `network namespace bpfleet-census-${ended.pid}`;
  assert.ok(findAdded(before, takeCensus(marker)).includes(key));
  assert.deepEqual([...(await findRemaining([key], marker, 0)).values()], [key]);
});

test("findRemaining leaves out a network namespace of a process that no test started", async (t) => {
  addNamespace(t, `bpfleet-census-${process.ppid}`);
  const remaining = await findRemaining([`network namespace bpfleet-census-${process.ppid}`], marker, 0);
  assert.deepEqual([...remaining], []);
});

test("findRemaining waits for what goes by itself", async () => {
  const child = spawn("sleep", ["0.5"], { env: { ...process.env, [markerVariable]: marker } });
  await once(child, "spawn");
  assert.ok(takeCensus(marker).has(`process ${child.pid}`));
  assert.deepEqual([...(await findRemaining([`process ${child.pid}`], marker, 5_000))], []);
});

test("killLeftProcesses ends a process that carries the mark, which findRemaining names before", async () => {
  const child = spawn("sleep", ["60"], { env: { ...process.env, [markerVariable]: marker } });
  await once(child, "spawn");
  const remaining = await findRemaining([`process ${child.pid}`], marker, 0);
  assert.deepEqual([...remaining.values()], [`process ${child.pid} (sleep 60)`]);
  const ended = once(child, "exit");
  killLeftProcesses(marker);
  assert.deepEqual(await ended, [null, "SIGKILL"]);
});
