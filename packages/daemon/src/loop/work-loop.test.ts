import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { KernelError } from "@bpfleet/base";
import fc from "fast-check";
import {
  diffPlan,
  emptyJournal,
  emptyPlan,
  FakeKernel,
  fakeError,
  FakeWorld,
  identityKey,
  noEntries,
  observePlan,
  renderHookKey,
  type HookPoint,
  type HookSpec,
  type Journal,
  type MapSpec,
  type NodePlan,
  type ProgramSpec,
} from "@bpfleet/kernel";
import { pino } from "pino";
import type { DaemonResults } from "../daemon.ts";
import type { Remembered } from "../state/node-state.ts";
import { WorkLoop, type LoopOptions } from "./work-loop.ts";

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const modes = () => ({ inline: true, stub: true, legacyTc: false });

/** What a daemon keeps on disk, in memory: outlives the loops that use it. */
class Memory {
  plan: NodePlan | undefined;
  journal: Journal = emptyJournal;
  isPaused = false;
  async savePlan(plan: NodePlan) {
    this.plan = plan;
    return { durable: Promise.resolve() };
  }
  isPassedOver = false;
  passOver() {
    this.isPassedOver = true;
  }
  /** A disk that takes nothing. */
  full(): Memory {
    const refuse = async () => Promise.reject(new Error("write plan: no space left on device (ENOSPC)"));
    return Object.assign(this, { savePlan: refuse, saveJournal: refuse });
  }
  async saveJournal(journal: Journal) {
    this.journal = journal;
  }
  async savePaused(isPaused: boolean) {
    this.isPaused = isPaused;
  }
  remembered(): Remembered {
    return { plan: this.plan, journal: this.journal, isPaused: this.isPaused, hashSeed: 1, unusable: [] };
  }
}

function startLoop(t: TestContext, world: FakeWorld, memory = new Memory(), more: Partial<LoopOptions> = {}): WorkLoop {
  const loop = new WorkLoop({
    kernel: new FakeKernel(world),
    state: memory,
    remembered: memory.remembered(),
    modes,
    clock,
    log: pino({ level: "silent" }),
    driftMs: 20,
    backoff: { firstMs: 5, longestMs: 40 },
    ...more,
  });
  loop.start();
  t.after(() => loop.stop());
  return loop;
}

const map = (key: string, contents: MapSpec["contents"] = { kind: "live" }): MapSpec => ({
  key,
  name: "m",
  definition: { type: "hash", keySize: 1, valueSize: 1, maxEntries: 8, flags: 0 },
  contents,
});
const program = (key: string, maps: readonly string[], globals: ProgramSpec["globals"] = {}): ProgramSpec => ({
  key,
  name: "p",
  type: "xdp",
  object: { name: "o", digest: "d" },
  entry: "e",
  globals,
  maps: Object.fromEntries(maps.map((name) => [name, name])),
});
function hook(point: HookPoint, ...programs: string[]): HookSpec {
  return {
    key: renderHookKey(point),
    point,
    members: programs.map((name, priority) => ({ program: name, priority, proceedOn: [2] })),
  };
}
const xdp = (name: string): HookPoint => ({ hook: "xdp", interface: name });
const filterOn = (...names: string[]): NodePlan => ({
  ...emptyPlan,
  maps: [map("m")],
  programs: [program("p", ["m"])],
  hooks: names.map((name) => hook(xdp(name), "p")),
});

async function until(loop: WorkLoop, holds: (results: DaemonResults) => boolean): Promise<DaemonResults> {
  if (holds(loop.results())) return loop.results();
  const { promise, resolve } = Promise.withResolvers<DaemonResults>();
  const end = loop.onChange((results) => holds(results) && resolve(results));
  const timer = setTimeout(() => resolve(loop.results()), 5000);
  const results = await promise;
  clearTimeout(timer);
  end();
  assert.ok(holds(results), JSON.stringify(results, undefined, 1));
  return results;
}
const stateOf = (results: DaemonResults, key: string) => results.items.find((item) => item.key === key)?.state;

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
