import assert from "node:assert/strict";
import { test } from "node:test";
import { Gathering } from "./gathering.ts";

test("Gathering runs once for hints that come at once, and whoever waits learns of its end", async () => {
  let runs = 0;
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  using gathering = new Gathering(async () => {
    runs++;
    await released;
  });
  const running = (): Promise<void> | undefined => gathering.running;
  assert.equal(running(), undefined);
  for (let hints = 0; hints < 3; hints++) gathering.hint();
  const first = running();
  release();
  await first;
  assert.equal(runs, 1);
  assert.equal(running(), undefined);
  gathering.hint();
  await running();
  assert.equal(runs, 2);
});

test("Gathering runs nothing after its end, and keeps nobody waiting", async () => {
  const gathering = new Gathering(() => Promise.reject(new Error("it ran")));
  gathering.hint();
  const { running } = gathering;
  gathering[Symbol.dispose]();
  await running;
});
