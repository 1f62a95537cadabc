import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Repeat } from "./repeat.ts";

async function until(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 20_000; !holds(); await sleep(2)) assert.ok(performance.now() < end);
}

test("Repeat makes one run of what is asked at once, and keeps its pace", async () => {
  const runs: number[] = [];
  await using repeat = new Repeat({
    paceMs: 60,
    run: async () => void runs.push(performance.now()),
    onFailure: (error) => assert.fail(String(error)),
  });
  for (let at = 0; at < 10; at++) repeat.ask();
  await until(() => runs.length === 1);
  for (let at = 0; at < 10; at++) repeat.ask();
  repeat.ask(100_000);
  await until(() => runs.length === 2);
  assert.ok((runs[1] ?? 0) - (runs[0] ?? 0) >= 55);
});

test("Repeat runs again for what was asked while it ran", async () => {
  let runs = 0;
  const first = Promise.withResolvers<void>();
  await using repeat = new Repeat({
    paceMs: 0,
    run: async () => {
      runs++;
      if (runs === 1) await first.promise;
    },
    onFailure: (error) => assert.fail(String(error)),
  });
  repeat.ask();
  await until(() => runs === 1);
  repeat.ask();
  await sleep(20);
  assert.equal(runs, 1, "one at a time");
  first.resolve();
  await until(() => runs === 2);
});

test("Repeat tries what failed again, and says so", async () => {
  let runs = 0;
  const failures: unknown[] = [];
  await using repeat = new Repeat({
    paceMs: 0,
    run: async () => {
      if (++runs === 1) throw new Error("away");
    },
    onFailure: (error) => failures.push(error),
  });
  repeat.ask();
  await until(() => runs === 2);
  assert.match(String(failures), /away/);
});
