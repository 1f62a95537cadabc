import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { WorkQueue } from "./work-queue.ts";

test("WorkQueue gives a key once however often it was added, and keys in the order they came", () => {
  const queue = new WorkQueue();
  for (const key of ["a", "b", "a", "c", "b"]) queue.add(key);
  assert.deepEqual([queue.take(0), queue.take(0), queue.take(0), queue.take(0)], ["a", "b", "c", undefined]);
});

test("WorkQueue gives a key that is added while it is worked on again when that is done, and not before", () => {
  const queue = new WorkQueue();
  queue.add("a");
  assert.equal(queue.take(0), "a");
  queue.add("a");
  queue.add("a");
  assert.equal(queue.take(0), undefined);
  queue.done("a");
  assert.equal(queue.take(0), "a");
  queue.done("a");
  assert.equal(queue.take(0), undefined);
  assert.ok(queue.isIdle);
});

test("WorkQueue waits 5 ms after the first failure of a key, twice as long after each further one, 1000 s at most", () => {
  const queue = new WorkQueue();
  const waits = Array.from({ length: 20 }, () => queue.retry("a", 0));
  assert.deepEqual(waits.slice(0, 4), [5, 10, 20, 40]);
  assert.equal(waits.at(-1), 1_000_000);
  queue.forget("a");
  assert.equal(queue.retry("a", 0), 5);
  assert.equal(queue.retry("b", 0, 3000), 3000);
});

test("WorkQueue lets a hundred retries at once through, then ten a second", () => {
  const queue = new WorkQueue();
  const waits = Array.from({ length: 130 }, (_, index) => queue.retry(String(index), 1000));
  assert.deepEqual(new Set(waits.slice(0, 100)), new Set([5]));
  assert.equal(waits[100], 100);
  assert.equal(waits[129], 3000);
  assert.equal(queue.retry("later", 60_000), 5);
});

test("WorkQueue takes the earliest of several times", () => {
  const queue = new WorkQueue();
  queue.addAt("a", 50);
  queue.addAt("a", 20);
  queue.addAt("a", 90);
  assert.equal(queue.nextDueMs(), 20);
  assert.equal(queue.take(19), undefined);
  assert.equal(queue.take(20), "a");
  assert.equal(queue.nextDueMs(), Infinity);
});

test("WorkQueue refuses the end of work that was not begun", () => {
  assert.throws(() => new WorkQueue().done("a"), RangeError);
});

type Command = { readonly do: "add" | "addAt" | "take" | "done" | "retry"; readonly key: string; readonly ms: number };

test("WorkQueue loses no key, works on none twice at a time, and gives delayed ones in the order of their time", () => {
  const command: fc.Arbitrary<Command> = fc.record({
    do: fc.constantFrom("add", "addAt", "take", "done", "retry"),
    key: fc.constantFrom("a", "b", "c", "d", "e", "f"),
    ms: fc.nat(50),
  });
  fc.assert(
    fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
      const queue = new WorkQueue();
      const working = new Set<string>();
      const wanted = new Set<string>();
      let now = 0;
      for (const { do: what, key, ms } of commands) {
        now += ms;
        if (what === "add") {
          queue.add(key);
          wanted.add(key);
        } else if (what === "addAt") {
          queue.addAt(key, now + ms);
          wanted.add(key);
        } else if (what === "retry") {
          queue.retry(key, now);
          wanted.add(key);
        } else if (what === "done" && working.delete(key)) queue.done(key);
        else if (what === "take") {
          const taken = queue.take(now);
          if (taken === undefined) continue;
          assert.ok(!working.has(taken));
          working.add(taken);
          wanted.delete(taken);
        }
      }
      for (const key of working) queue.done(key);
      for (let taken = queue.take(Infinity); taken !== undefined; taken = queue.take(Infinity)) {
        queue.done(taken);
        wanted.delete(taken);
      }
      assert.deepEqual([...wanted], []);
      assert.ok(queue.isIdle && queue.delayed === 0);
    }),
  );
});

test("WorkQueue gives what is due in the order of time", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(1000), { minLength: 1 }), (times) => {
      const queue = new WorkQueue();
      for (const time of times) queue.addAt(`k${time}`, time);
      const taken: number[] = [];
      while (queue.nextDueMs() < Infinity) {
        const key = queue.take(queue.nextDueMs());
        taken.push(Number(key?.slice(1)));
      }
      assert.deepEqual(
        taken,
        times.toSorted((a, b) => a - b),
      );
    }),
  );
});
