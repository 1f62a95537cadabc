import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { diffPlan, emptyPlan, FakeKernel, fakeError, FakeWorld, observePlan, type NodePlan } from "@bpfleet/kernel";
import { pino } from "pino";
import { filterOn, hook, map, Memory, program, startLoop, stateOf, until, xdp } from "../testing/loop-bench.ts";

test("WorkLoop puts right what others change, and says so", async (t) => {
  const world = new FakeWorld();
  world.addInterface("eth0");
  const loop = startLoop(t, world);
  const kept = map("kept", {
    kind: "kept",
    prune: false,
    entries: { count: 1, keys: Uint8Array.of(1), values: Uint8Array.of(7) },
  });
  const { definition } = map("kept");
  const refers = { kind: "refers", inner: definition, entries: [{ slot: 2, map: "kept" }] } as const;
  const outer = { ...map("outer", refers), definition: { ...definition, type: "array_of_maps" } as const };
  loop.setPlan({ ...filterOn("eth0"), maps: [map("m"), kept, outer] }, true);
  await loop.settled();

  world.hooks.clear();
  await until(loop, (results) => results.healed.length === 1);
  assert.equal(world.hooks.size, 1);
  const keptMap = [...world.maps.values()].find(({ identity }) => identity.key === "kept");
  keptMap?.entries.set("01", Uint8Array.of(9));
  await until(loop, (results) => results.healed.length === 2);
  assert.deepEqual(keptMap?.entries.get("01"), Uint8Array.of(7));
  [...world.maps.values()].find(({ identity }) => identity.key === "outer")?.entries.clear();
  await until(loop, (results) => results.healed.length === 3);
  assert.deepEqual(
    loop.results().healed.map(({ item, key }) => `${item} ${key}`),
    ["hook xdp/eth0", "map kept", "map outer"],
  );

  loop.setPlan(
    { ...filterOn("eth0"), maps: [map("m"), kept, { ...outer, contents: { ...refers, entries: [] } }] },
    true,
  );
  assert.equal((await loop.settled()).healed.length, 3, "another wish is no repair");
});

test("WorkLoop does not call it meddling when it ends what it could not do before", async (t) => {
  const world = new FakeWorld();
  const loop = startLoop(t, world);
  const { definition } = map("inner");
  const refers = (slots: readonly number[]): NodePlan => ({
    ...emptyPlan,
    maps: [
      map("inner"),
      {
        ...map("outer", {
          kind: "refers",
          inner: definition,
          entries: slots.map((slot) => ({ slot, map: "inner" })),
        }),
        definition: { ...definition, type: "array_of_maps" },
      },
    ],
  });
  const slotsInUse = () => [...world.maps.values()].find(({ identity }) => identity.key === "outer")?.entries.size;
  loop.setPlan(refers([2, 3]), true);
  await loop.settled();
  assert.equal(slotsInUse(), 2);
  let refusals = 2;
  world.intercept = ({ method }) =>
    method === "dropReference" && refusals-- > 0
      ? fakeError("busy", "drop: too many open files (EMFILE)", "x", "EMFILE")
      : undefined;
  loop.setPlan(refers([2]), true);
  await loop.settled();
  assert.equal(slotsInUse(), 2);
  for (let waitedMs = 0; slotsInUse() !== 1 && waitedMs < 5000; waitedMs += 5) await sleep(5);
  assert.equal(slotsInUse(), 1);
  loop.setPlan(refers([2]), true);
  assert.deepEqual((await loop.settled()).healed, []);
});

test("WorkLoop tells a change by others from another wish, even when plans come all the time", async (t) => {
  const world = new FakeWorld();
  world.addInterface("eth0");
  const loop = startLoop(t, world, undefined, { driftMs: 60_000 });
  const kept = (value: number) =>
    map("kept", {
      kind: "kept",
      prune: false,
      entries: { count: 1, keys: Uint8Array.of(1), values: Uint8Array.of(value) },
    });
  const planOf = (value: number, knob: number): NodePlan => ({
    ...filterOn("eth0"),
    maps: [map("m"), kept(value)],
    programs: [program("p", ["m"], { knob })],
  });
  loop.setPlan(planOf(1, 1), true);
  await loop.settled();
  loop.setPlan(planOf(2, 2), true);
  assert.deepEqual((await loop.settled()).healed, []);
  world.hooks.clear();
  loop.setPlan(planOf(2, 2), true);
  assert.deepEqual(
    (await loop.settled()).healed.map(({ key }) => key),
    ["xdp/eth0"],
  );
});

test("WorkLoop adopts what a predecessor left and removes nothing before a complete plan", async (t) => {
  const world = new FakeWorld();
  world.addInterface("a");
  world.addInterface("b");
  const memory = new Memory();
  const first = startLoop(t, world, memory);
  first.setPlan(filterOn("a", "b"), true);
  await first.settled();
  await first.stop();
  const before = JSON.stringify([...world.hooks.values()]);

  const second = startLoop(t, world, memory);
  await second.settled();
  assert.equal(second.results().isComplete, false);
  second.setPlan(filterOn("a"), false);
  await second.settled();
  assert.equal(JSON.stringify([...world.hooks.values()]), before);

  second.setPlan(filterOn("a"), true);
  await second.settled();
  assert.deepEqual([...world.hooks.keys()], ["xdp/a"]);
});

test("WorkLoop applies the last complete plan again after a reboot, before anybody speaks", async (t) => {
  const world = new FakeWorld();
  world.addInterface("a");
  const memory = new Memory();
  const first = startLoop(t, world, memory);
  first.setPlan(filterOn("a"), true);
  await first.settled();
  first.setPlan(emptyPlan, false);
  await first.settled();
  await first.stop();

  world.reboot();
  const second = startLoop(t, world, memory);
  await second.settled();
  assert.deepEqual([...world.hooks.keys()], ["xdp/a"]);
});

test("WorkLoop detaches everything on pause, remembers it, and comes back on resume", async (t) => {
  const world = new FakeWorld();
  world.addInterface("a");
  const memory = new Memory();
  const first = startLoop(t, world, memory);
  first.setPlan(filterOn("a"), true);
  await first.settled();
  await first.pause();
  assert.equal(world.hooks.size, 0);
  assert.equal(world.programs.size, 1);
  assert.equal(first.results().isPaused, true);
  assert.equal(stateOf(first.results(), "xdp/a"), "withheld");
  await first.stop();

  const second = startLoop(t, world, memory);
  second.setPlan(filterOn("a"), true);
  await second.settled();
  assert.equal(world.hooks.size, 0);
  await second.resume();
  assert.equal(world.hooks.size, 1);
  assert.equal(stateOf(second.results(), "xdp/a"), "in-force");
});

test("WorkLoop pauses without any plan: what a predecessor attached is detached", async (t) => {
  const world = new FakeWorld();
  world.addInterface("a");
  const first = startLoop(t, world);
  first.setPlan(filterOn("a"), true);
  await first.settled();
  await first.stop();
  const second = startLoop(t, world);
  await second.settled();
  assert.equal(world.hooks.size, 1);
  await second.pause();
  assert.equal(world.hooks.size, 0);
  assert.equal(world.programs.size, 1);
});

test("WorkLoop goes on after the kernel could not be looked at", async (t) => {
  const world = new FakeWorld();
  world.addInterface("a");
  const kernel = new FakeKernel(world);
  const observe = kernel.observe.bind(kernel);
  let failures = 2;
  kernel.observe = async () => {
    if (failures-- > 0) throw fakeError("not-found", "open /run/bpfd/fs: it is not there (ENOENT)", "OPEN", "ENOENT");
    return observe();
  };
  const loop = startLoop(t, world, undefined, { kernel, driftMs: 60_000 });
  loop.setPlan(filterOn("a"), true);
  await until(loop, (results) => results.trouble !== undefined);
  await until(loop, (results) => results.trouble === undefined && stateOf(results, "xdp/a") === "in-force");
});

test("WorkLoop converges to the last plan whatever was asked, failed or changed by others before", async (t) => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant("plan" as const),
      names: fc.uniqueArray(fc.constantFrom("a", "b", "c")),
      knob: fc.nat(2),
    }),
    fc.record({ do: fc.constantFrom("fail" as const), every: fc.integer({ min: 2, max: 4 }) }),
    fc.record({
      do: fc.constantFrom(
        "unlink" as const,
        "reboot" as const,
        "recreate" as const,
        "restart" as const,
        "pause" as const,
        "resume" as const,
        "sleep" as const,
      ),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const world = new FakeWorld();
      for (const name of ["a", "b", "c"]) world.addInterface(name);
      const memory = new Memory();
      const open = () => startLoop(t, world, memory, { driftMs: 1, backoff: { firstMs: 1, longestMs: 2 } });
      let loop = open();
      let plan = emptyPlan;
      for (const each of steps) {
        if (each.do === "plan") {
          plan = {
            ...emptyPlan,
            maps: [map("m")],
            programs: [program("p", ["m"], { knob: each.knob }), program("q", ["m"])],
            hooks: each.names.map((name) => hook(xdp(name), "p", "q")),
          };
          loop.setPlan(plan, true);
        } else if (each.do === "fail") {
          let calls = 0;
          world.intercept = () => (++calls % each.every === 0 ? fakeError("internal", "no luck", "x") : undefined);
        } else if (each.do === "unlink") world.hooks.clear();
        else if (each.do === "reboot") world.reboot();
        else if (each.do === "recreate") world.addInterface("a");
        else if (each.do === "sleep") await sleep(2);
        else if (each.do === "restart") {
          await loop.stop();
          loop = open();
        } else {
          world.intercept = () => undefined;
          await loop[each.do]();
        }
      }
      world.intercept = () => undefined;
      if (memory.isPaused) await loop.resume();
      loop.setPlan(plan, true);
      await until(loop, (results) => results.isSettled && results.items.every((item) => item.state === "in-force"));
      await sleep(5);
      await loop.stop();
      assert.deepEqual(diffPlan(plan, await observePlan(new FakeKernel(world), plan), memory.journal), []);
    }),
    { numRuns: 40 },
  );
});

test("WorkLoop takes a program into its hook when it can be loaded at last, and does not call that meddling", async (t) => {
  const world = new FakeWorld();
  world.addInterface("a");
  const loop = startLoop(t, world);
  let isRefused = true;
  world.intercept = ({ method, key }) =>
    isRefused && method === "loadProgram" && key === "q" ? fakeError("internal", "no luck", "x") : undefined;
  loop.setPlan(
    { ...emptyPlan, programs: [program("p", []), program("q", [])], hooks: [hook(xdp("a"), "p", "q")] },
    true,
  );
  const short = await loop.settled();
  assert.equal(stateOf(short, "q"), "failed");
  assert.equal(stateOf(short, "xdp/a"), "in-force");
  assert.equal(world.hooks.get("xdp/a")?.members.length, 1);
  isRefused = false;
  const whole = await until(loop, (results) => stateOf(results, "q") === "in-force");
  assert.equal(world.hooks.get("xdp/a")?.members.length, 2);
  assert.deepEqual(whole.healed, []);
});

test("WorkLoop puts in force what the disk does not take, says so once, and keeps it as soon as there is room", async (t) => {
  const world = new FakeWorld();
  world.addInterface("eth0");
  const memory = new Memory().full();
  const said: string[] = [];
  const log = pino({ level: "error" }, { write: (line: string) => void said.push(line) });
  const loop = startLoop(t, world, memory, { log });
  loop.setPlan(filterOn("eth0"), true);
  await loop.settled();
  loop.setPlan({ ...filterOn("eth0"), maps: [map("m"), map("n")] }, true);
  const results = await loop.settled();
  assert.deepEqual(new Set(results.items.map(({ state }) => state)), new Set(["in-force"]));
  assert.deepEqual([results.trouble, results.notKept], [undefined, "write plan: no space left on device (ENOSPC)"]);
  assert.equal(said.length, 1, said.join(""));
  const { savePlan, saveJournal } = Memory.prototype;
  Object.assign(memory, { savePlan, saveJournal });
  await until(loop, ({ notKept }) => notKept === undefined);
  assert.equal(memory.plan?.maps.length, 2);
});

test("WorkLoop keeps no plan that is not complete, and leaves the one before it aside", async (t) => {
  const memory = new Memory();
  const loop = startLoop(t, new FakeWorld(), memory);
  loop.setPlan(emptyPlan, true);
  await loop.settled();
  assert.equal(memory.isPassedOver, false);
  loop.setPlan(filterOn(), false);
  await loop.settled();
  assert.equal(memory.isPassedOver, true);
  assert.equal(memory.plan, emptyPlan);
});
