import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { KernelError } from "@bpfleet/base";
import { emptyPlan, FakeKernel, fakeError, FakeWorld, identityKey, noEntries, type NodePlan } from "@bpfleet/kernel";
import { pino } from "pino";
import { filterOn, hook, map, Memory, program, startLoop, stateOf, until } from "../testing/loop-bench.ts";

test("WorkLoop puts a plan in force and says how long it took", async (t) => {
  const world = new FakeWorld();
  world.addInterface("eth0");
  const times: number[] = [];
  const loop = startLoop(t, world, undefined, { onInForce: (ms) => void times.push(ms) });
  loop.setPlan(filterOn("eth0"), true);
  const results = await loop.settled();
  assert.deepEqual(
    results.items.map((item) => item.state),
    ["in-force", "in-force", "in-force"],
  );
  assert.equal(results.revision, 1);
  assert.deepEqual([...world.hooks.keys()], [identityKey("xdp/eth0")]);
  assert.equal(times.length, 1);
  assert.equal(results.applyMs, times[0]);
});

test("WorkLoop goes on when those whom it tells throw, and tells the others", async (t) => {
  const world = new FakeWorld();
  world.addInterface("eth0");
  const lines: string[] = [];
  const fault = (): never => {
    throw new Error("no ear");
  };
  const log = pino({ level: "error" }, { write: (line) => void lines.push(line) });
  const loop = startLoop(t, world, undefined, { log, onInForce: fault, onFailed: fault });
  loop.onChange(fault);
  const revisions: number[] = [];
  loop.onChange(({ revision }) => void revisions.push(revision));
  loop.setPlan(filterOn("eth0", "missing"), true);
  await until(loop, ({ isSettled, revision }) => isSettled && revision === 1);
  loop.setPlan(filterOn("eth0"), true);
  const results = await until(loop, ({ isSettled, revision }) => isSettled && revision === 2);
  assert.equal(stateOf(results, "xdp/eth0"), "in-force");
  assert.equal(results.trouble, undefined);
  assert.equal(revisions.at(-1), 2);
  assert.match(lines[0] ?? "", /no ear/);
});

test("WorkLoop says again what fails again after it left the plan", async (t) => {
  const world = new FakeWorld();
  world.addInterface("eth0");
  world.intercept = ({ method }) =>
    method === "setHook" ? fakeError("busy", "attach xdp/eth0: busy (EBUSY)", "x", "EBUSY") : undefined;
  const lines: string[] = [];
  const log = pino({ level: "warn" }, { write: (line) => void lines.push(line) });
  const loop = startLoop(t, world, undefined, { log, driftMs: 1, backoff: { firstMs: 1, longestMs: 2 } });
  const said = (): number => lines.filter((line) => line.includes("EBUSY")).length;
  for (const plan of [filterOn("eth0"), emptyPlan, filterOn("eth0")]) {
    loop.setPlan(plan, true);
    await loop.settled();
  }
  assert.equal(said(), 2);
});

test("WorkLoop makes one pass of many plans that come at once, for the last of them", async (t) => {
  const world = new FakeWorld();
  for (const name of ["a", "b", "c"]) world.addInterface(name);
  const attached: string[] = [];
  world.intercept = ({ method, key }) => void (method === "setHook" && attached.push(key));
  const loop = startLoop(t, world);
  for (const name of ["a", "b", "c"]) loop.setPlan(filterOn(name), true);
  await loop.settled();
  assert.deepEqual(attached, ["xdp/c"]);
});

test("WorkLoop tries what failed again by itself, and leaves the rest in force", async (t) => {
  const world = new FakeWorld();
  world.addInterface("good");
  world.addInterface("bad");
  let refusals = 3;
  world.intercept = ({ method, key }) =>
    method === "setHook" && key === "xdp/bad" && refusals-- > 0
      ? fakeError("busy", "attach xdp/bad: busy (EBUSY)", "x", "EBUSY")
      : undefined;
  const loop = startLoop(t, world);
  loop.setPlan(filterOn("good", "bad"), true);
  const first = await loop.settled();
  assert.equal(stateOf(first, "xdp/good"), "in-force");
  assert.equal(stateOf(first, "xdp/bad"), "failed");
  assert.equal(first.items.at(-1)?.error?.code, "busy");
  await until(loop, (results) => stateOf(results, "xdp/bad") === "in-force");
  assert.deepEqual(loop.results().healed, []);
});

test("WorkLoop does not repeat what can never work, until another plan asks for it", async (t) => {
  const world = new FakeWorld();
  world.addInterface("eth0");
  let attempts = 0;
  world.intercept = ({ method }) => {
    if (method !== "loadProgram") return undefined;
    attempts++;
    return new KernelError("load program p: refused", { code: "verifier", call: "x", retry: "never" });
  };
  const loop = startLoop(t, world, undefined, { driftMs: 5, backoff: { firstMs: 1, longestMs: 2 } });
  loop.setPlan(filterOn("eth0"), true);
  await sleep(50);
  assert.equal(attempts, 1);
  loop.setPlan({ ...filterOn("eth0"), programs: [program("p", ["m"], { knob: 1 })] }, true);
  await loop.settled();
  assert.equal(attempts, 2);
});

test("WorkLoop lets a table wait once for a place that refuses, and not for good", async (t) => {
  const world = new FakeWorld();
  world.addInterface("good");
  world.addInterface("bad");
  world.intercept = ({ method, key }) =>
    method === "setHook" && key === "xdp/bad"
      ? fakeError("too-big", "attach xdp/bad: no more programs (E2BIG)", "x", "E2BIG")
      : undefined;
  const { definition } = map("lines");
  const table = (digest: string, ...names: string[]): NodePlan => ({
    ...filterOn(...names),
    maps: [
      {
        ...map("m", { kind: "refers", inner: definition, entries: [{ slot: 0, map: "lines" }] }),
        definition: { type: "array_of_maps", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 },
      },
      map("lines", { kind: "sealed", digest, entries: noEntries }),
    ],
  });
  const loop = startLoop(t, world);
  loop.setPlan(table("1", "good"), true);
  assert.equal(stateOf(await loop.settled(), "m"), "in-force");
  const seen: unknown[] = [];
  t.after(loop.onChange((results) => seen.push(stateOf(results, "m"))));
  loop.setPlan(table("2", "good", "bad"), true);
  const results = await until(loop, (now) => now.revision === 2 && stateOf(now, "m") === "in-force");
  assert.ok(seen.includes("withheld"), seen.join());
  assert.equal(stateOf(results, "xdp/bad"), "failed");
});

test("WorkLoop waits between attempts, longer each time", async (t) => {
  const world = new FakeWorld();
  world.addInterface("eth0");
  const attempts: number[] = [];
  world.intercept = ({ method }) => {
    if (method !== "loadProgram") return undefined;
    attempts.push(performance.now());
    return fakeError("internal", "load program p: refused", "x");
  };
  const loop = startLoop(t, world, undefined, { backoff: { firstMs: 10, longestMs: 10_000 }, driftMs: 5 });
  loop.setPlan(filterOn("eth0"), true);
  for (let waitedMs = 0; attempts.length < 4 && waitedMs < 10_000; waitedMs += 10) await sleep(10);
  const gaps = attempts.slice(1).map((at, index) => at - (attempts[index] ?? 0));
  assert.ok(attempts.length >= 4 && attempts.length <= 6, `${attempts.length} attempts`);
  gaps.forEach((gap, index) => assert.ok(gap >= 10 * 2 ** index - 2, `gaps ${gaps.map(Math.round).join()}`));
  assert.equal(stateOf(loop.results(), "xdp/eth0"), "withheld");
});

test("WorkLoop attaches to an interface that comes later as soon as it is told of it", async (t) => {
  const world = new FakeWorld();
  const loop = startLoop(t, world, undefined, { driftMs: 60_000, backoff: { firstMs: 60_000, longestMs: 60_000 } });
  loop.setPlan(filterOn("eth0"), true);
  const waiting = await loop.settled();
  assert.equal(waiting.items.at(-1)?.error?.code, "interface-missing");

  world.addInterface("eth0");
  loop.placesChanged(new Set(["other"]));
  await sleep(10);
  assert.equal(stateOf(loop.results(), "xdp/eth0"), "failed");
  loop.placesChanged(new Set(["eth0"]));
  await until(loop, (results) => stateOf(results, "xdp/eth0") === "in-force");

  world.removeInterface("eth0");
  loop.placesChanged(new Set(["eth0"]));
  await until(loop, (results) => stateOf(results, "xdp/eth0") === "failed");
  world.addInterface("eth0");
  loop.placesChanged(new Set(["eth0"]));
  await until(loop, (results) => stateOf(results, "xdp/eth0") === "in-force");
});

test("WorkLoop looks at hooks once for edits that follow soon, and at once when places changed", async (t) => {
  const world = new FakeWorld();
  world.addInterface("eth0");
  let looks = 0;
  class Counting extends FakeKernel {
    override observe(...known: Parameters<FakeKernel["observe"]>): ReturnType<FakeKernel["observe"]> {
      looks += known[0] === undefined ? 1 : 0;
      return super.observe(...known);
    }
  }
  const loop = startLoop(t, world, new Memory(), { kernel: new Counting(world), driftMs: 60_000 });
  const planOf = (value: number): NodePlan => {
    const entries = { count: 1, keys: Uint8Array.of(1), values: Uint8Array.of(value) };
    const maps = [map("m", { kind: "kept", entries, prune: true })];
    return {
      ...emptyPlan,
      maps,
      programs: [program("p", ["m"])],
      hooks: [hook({ hook: "xdp", interface: "eth0" }, "p")],
    };
  };
  const looksAt = async (value: number): Promise<number> => {
    const before = looks;
    loop.setPlan(planOf(value), true);
    await loop.settled();
    return looks - before;
  };
  for (const value of [1, 2]) await looksAt(value);
  assert.ok(looks > 0 && looks <= 3, `${looks} looks until all is known`);
  for (const value of [3, 4, 5]) assert.equal(await looksAt(value), 0);
  assert.deepEqual([...([...world.maps.values()][0]?.entries.values() ?? [])], [Uint8Array.of(5)]);
  loop.placesChanged(new Set(["eth1"]));
  assert.equal(await looksAt(6), 1, "interfaces are others");
  assert.equal(await looksAt(7), 0);
});
