import assert from "node:assert/strict";
import { test } from "node:test";
import { tryEach } from "./try-each.ts";

test("tryEach does all that can be done, and then throws the first failure", async () => {
  const done: number[] = [];
  const work = async (at: number): Promise<void> => {
    if (at % 2 === 1) throw new RangeError(`refused ${at}`);
    done.push(at);
  };
  await assert.rejects(tryEach([0, 1, 2, 3, 4], new AbortController().signal, work), /refused 1/);
  assert.deepEqual(done, [0, 2, 4]);
  await tryEach([6, 8], new AbortController().signal, work);
  assert.deepEqual(done, [0, 2, 4, 6, 8]);
});

test("tryEach begins nothing any more once it is to stop", async () => {
  const stop = new AbortController();
  const done: number[] = [];
  await tryEach([1, 2], stop.signal, async (at) => {
    done.push(at);
    stop.abort();
  });
  assert.deepEqual(done, [1]);
});
