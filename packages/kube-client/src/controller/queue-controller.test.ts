import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, awaitChange, recheckAfter } from "@bpfleet/kube";
import { createController } from "./queue-controller.ts";

test("createController works on keys with so many workers as it was told, and on no key twice at a time", async () => {
  const working = new Set<string>();
  let most = 0;
  let count = 0;
  await using controller = createController({
    name: "test",
    workers: 3,
    reconcile: async (key) => {
      assert.ok(!working.has(key));
      working.add(key);
      most = Math.max(most, working.size);
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      if (count++ < 20) controller.add(key);
      working.delete(key);
      return awaitChange;
    },
  });
  for (const key of ["a", "b", "c", "d", "e"]) controller.add(key);
  controller.start();
  await controller.idle();
  assert.equal(most, 3);
  assert.equal(count, 25);
});

test("createController tries what failed again, with growing gaps, until it succeeds", async () => {
  const waits: number[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  await using _controller = withKey({
    reconcile: async () => {
      if (waits.length < 3) throw new Error("not yet");
      resolve();
      return awaitChange;
    },
    onFailure: ({ retryAfterMs }) => waits.push(retryAfterMs),
  });
  await promise;
  assert.deepEqual(waits, [5, 10, 20]);
});

test("createController waits as long as the server asks for", async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const error = new ApiError("x", {
    code: "api-unreachable",
    status: 429,
    reason: "TooManyRequests",
    retry: "backoff",
    retryAfterMs: 7000,
  });
  await using _controller = withKey({
    reconcile: () => Promise.reject(error),
    onFailure: ({ retryAfterMs }) => resolve(retryAfterMs),
  });
  assert.equal(await promise, 7000);
});

test("createController looks again after the time it was told", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  await using controller = withKey({
    reconcile: async () => {
      if (++count < 3) return recheckAfter(1);
      resolve();
      return awaitChange;
    },
  });
  await promise;
  await controller.idle();
  assert.equal(controller.delayed, 0);
});

test("createController ends with its work: the signal is set, what waits is dropped", async () => {
  const begun = Promise.withResolvers<void>();
  const seen: string[] = [];
  const controller = createController({
    name: "test",
    reconcile: async (key, signal) => {
      seen.push(key);
      begun.resolve();
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      throw new Error("interrupted");
    },
    onFailure: () => assert.fail("an interrupted key is no failure"),
  });
  controller.add("a");
  controller.add("b");
  controller.start();
  await begun.promise;
  await controller.stop();
  controller.add("c");
  assert.deepEqual(seen, ["a"]);
  assert.equal(controller.working, 0);
});

function withKey(options: Pick<Parameters<typeof createController>[0], "reconcile" | "onFailure">) {
  const controller = createController({ name: "test", ...options });
  controller.add("a");
  return controller.start();
}
