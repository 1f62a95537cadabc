import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { ObjectRef } from "@bpfleet/base";
import {
  eventsSpec,
  instanceIdOf,
  lostEventsSpec,
  traceSpec,
  type Decision,
  type Feature,
  type MapReadings,
} from "@bpfleet/features";
import { emptyPlan, FakeKernel, FakeWorld, mapIdentity, noEntries, type NodePlan } from "@bpfleet/kernel";
import { CounterReader } from "./counters.ts";
import type { TraceEvent } from "./daemon.ts";
import { EventHub } from "./events.ts";
import type { FlowLog } from "./flow-log.ts";

const owner = (name: string): ObjectRef => ({ group: "g", kind: "K", namespace: "default", name });
const judge: Feature = {
  name: "judge",
  plan: () => ({ maps: [], programs: [], attachments: [], instances: [], problems: [] }),
  passReasons: [],
  counterRoles: [],
  counters: (instance) => ({ owner: instance.owner, reasons: {}, rules: [], gauges: {} }),
  explanations: {
    twin: { globals: {}, scratch: "explained" },
    roles: [],
    explain: (instance, scratch): Decision => ({
      owner: instance.owner,
      verdict: scratch[0] === 0 ? "pass" : "drop",
      reason: "r",
      text: `${instance.key} ${scratch[4]}`,
    }),
  },
};
const instance = (key: string) => ({
  feature: "judge",
  owner: owner(key),
  key,
  programs: [`${key}/program`],
  maps: {},
  rules: [],
  data: null,
});
const plan: NodePlan = {
  ...emptyPlan,
  maps: [eventsSpec, traceSpec, lostEventsSpec],
  instances: [instance("a"), instance("b")],
};

/** struct event of bpf/include/settle.h, with room for a longer head. */
function record(key: string, verdict: "pass" | "drop" | "opens", reason = 0): Uint8Array {
  const bytes = Buffer.alloc(1024);
  bytes.writeBigUInt64LE(process.hrtime.bigint(), 0);
  bytes.writeBigUInt64LE(instanceIdOf(key), 8);
  bytes.writeUInt32LE(3, 16);
  bytes.writeUInt32LE(1500, 20);
  bytes.writeUInt32LE(4, 24);
  bytes.writeUInt32LE(2, 28);
  bytes.writeUInt32LE(verdict === "drop" ? 1 : 0, 32);
  bytes.writeUInt32LE(reason, 36);
  bytes.writeUInt32LE(verdict === "opens" ? 4 : 0, 44);
  bytes.set([1, 2, 3, 4, 5], 64);
  return bytes;
}

async function setUp(
  world = new FakeWorld(),
  current: { plan: NodePlan } = { plan },
  feature = judge,
  log?: Pick<FlowLog, "isWanted" | "take">,
) {
  const kernel = new FakeKernel(world);
  for (const spec of current.plan.maps) await kernel.createMap(spec);
  const troubles: unknown[] = [];
  const hub = new EventHub({
    kernel,
    features: [feature],
    reader: new CounterReader(kernel, [feature]),
    plan: () => current.plan,
    facts: () => undefined,
    clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
    onTrouble: (error) => void troubles.push(error),
    log,
  });
  /** [every, samples, instance] of struct trace_switch. */
  const sampling = async () => {
    const values = Buffer.from((await kernel.readMap(mapIdentity(traceSpec)))?.values ?? []);
    return [values.readUInt32LE(0), values.readUInt32LE(4), values.readBigUInt64LE(8)];
  };
  /** As the programs of each of two processors count. */
  const losesOnEach = async (count: number) => {
    const entries = {
      count: 1,
      keys: new Uint8Array(4),
      values: new Uint8Array(BigUint64Array.of(BigInt(count)).buffer),
    };
    await kernel.writeMap(mapIdentity(lostEventsSpec), entries, noEntries);
  };
  const readers = () => [...world.ringReaders.values()].reduce((sum, each) => sum + each.size, 0);
  return { hub, world, kernel, sampling, losesOnEach, readers, troubles };
}

/** Records are decoded a slice at a time, between other work. */
async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds() && tries < 2000; tries++) await sleep(5);
}

test("EventHub switches sampling on for the first subscriber and off after the last", async () => {
  const { hub, sampling, readers } = await setUp();
  const first = await hub.subscribe({ every: 100, only: "drop", owner: owner("a") }, () => {});
  assert.deepEqual(await sampling(), [100, 2, instanceIdOf("a")]);
  const second = await hub.subscribe({ every: 10, only: "all" }, () => {});
  assert.deepEqual(await sampling(), [10, 0, 0n]);
  await second[Symbol.asyncDispose]();
  assert.deepEqual(await sampling(), [100, 2, instanceIdOf("a")]);
  assert.equal(readers(), 1);
  await first[Symbol.asyncDispose]();
  assert.deepEqual(await sampling(), [0, 0, 0n]);
  assert.equal(readers(), 0);
});

test("EventHub gives each subscriber what it asked for, in words", async () => {
  const { hub, world, troubles } = await setUp();
  const begunMs = Date.now();
  const all: TraceEvent[] = [];
  const drops: TraceEvent[] = [];
  const half: TraceEvent[] = [];
  await hub.subscribe({ every: 1, only: "all" }, (events) => void all.push(...events));
  await hub.subscribe({ every: 1, only: "drop", owner: owner("b") }, (events) => void drops.push(...events));
  await hub.subscribe({ every: 2, only: "all" }, (events) => void half.push(...events));
  for (const each of [
    record("a", "drop", 1),
    record("b", "pass", 2),
    record("b", "drop", 3),
    record("gone", "drop"),
    new Uint8Array(3),
  ])
    world.emit("node/events", each);
  await until(() => all.length >= 3);
  assert.deepEqual(
    all.map(({ decision }) => decision.text),
    ["a 1", "b 2", "b 3"],
  );
  assert.deepEqual(
    drops.map(({ decision }) => decision.text),
    ["b 3"],
  );
  assert.deepEqual(
    half.map(({ decision }) => decision.text),
    ["b 2"],
  );
  const [first] = all;
  assert.ok(first !== undefined && first.at > begunMs - 50 && first.at < Date.now() + 50, `${first?.at}`);
  assert.deepEqual(
    { ...first, at: 0, decision: undefined },
    {
      at: 0,
      decision: undefined,
      program: "a/program",
      ifindex: 3,
      interface: "",
      lengthBytes: 1500,
      head: Uint8Array.of(1, 2, 3, 4),
      layer: "ethernet",
    },
  );
  assert.deepEqual(troubles, []);
  await hub[Symbol.asyncDispose]();
});

test("EventHub asks for what opens flows, and tells those who want no more only that and drops", async () => {
  const { hub, world, sampling } = await setUp();
  const [flows, all]: [TraceEvent[], TraceEvent[]] = [[], []];
  const first = await hub.subscribe({ every: 1, only: "flow" }, (events) => void flows.push(...events));
  assert.deepEqual(await sampling(), [1, 6, 0n]);
  const drops = await hub.subscribe({ every: 1, only: "drop" }, () => {});
  assert.deepEqual(await sampling(), [1, 6, 0n]);
  await hub.subscribe({ every: 1, only: "all" }, (events) => void all.push(...events));
  assert.deepEqual(await sampling(), [1, 0, 0n]);
  for (const [at, verdict] of (["opens", "pass", "drop"] as const).entries())
    world.emit("node/events", record("a", verdict, at));
  await until(() => all.length >= 3);
  assert.deepEqual(
    flows.map(({ decision, opensFlow }) => [decision.text, opensFlow]),
    [
      ["a 0", true],
      ["a 2", undefined],
    ],
  );
  await first[Symbol.asyncDispose]();
  await drops[Symbol.asyncDispose]();
  assert.deepEqual(await sampling(), [1, 0, 0n]);
  await hub[Symbol.asyncDispose]();
});

test("EventHub follows the maps when the kernel has them later or anew", async () => {
  const world = new FakeWorld();
  const current = { plan: emptyPlan };
  const { hub, kernel, sampling } = await setUp(world, current);
  const seen: TraceEvent[] = [];
  await hub.subscribe({ every: 1, only: "all" }, (events) => void seen.push(...events));
  for (let round = 1; round <= 2; round++) {
    world.reboot();
    current.plan = plan;
    for (const spec of plan.maps) await kernel.createMap(spec);
    await hub.refresh();
    assert.deepEqual(await sampling(), [1, 0, 0n]);
    world.emit("node/events", record("a", "pass"));
    await until(() => seen.length >= round);
    assert.equal(seen.length, round);
  }
  await hub[Symbol.asyncDispose]();
});

test("EventHub switches off what a killed predecessor left on", async () => {
  const world = new FakeWorld();
  const { hub, sampling } = await setUp(world);
  await hub.subscribe({ every: 1, only: "all" }, () => {});
  const successor = await setUp(world);
  await successor.hub.refresh();
  assert.deepEqual(await sampling(), [0, 0, 0n]);
});

test("EventHub tells what the kernel lost since somebody looks, once, also when the map is made anew", async () => {
  const { hub, world, kernel, losesOnEach, troubles } = await setUp();
  await losesOnEach(100);
  const events: TraceEvent[] = [];
  const tell = async (): Promise<number | undefined> => {
    const before = events.length;
    // What was read a moment ago is not read again.
    for (let tries = 0; events.length < before + 2 && tries < 2000; tries++) {
      world.emit("node/events", record("a", "drop"));
      await sleep(60);
    }
    return events.slice(before).reduce((sum, { missed }) => sum + (missed ?? 0), 0);
  };
  const looking = await hub.subscribe({ every: 1, only: "all" }, (some) => void events.push(...some));
  assert.equal(await tell(), 0);
  await losesOnEach(103);
  assert.equal(await tell(), 6);
  assert.equal(await tell(), 0);
  assert.deepEqual(await hub.lost(), { verdicts: 206n, flows: 0n });
  await kernel.removeMap(mapIdentity(lostEventsSpec));
  await kernel.createMap(lostEventsSpec);
  await losesOnEach(2);
  await hub.refresh();
  assert.equal(await tell(), 4);
  await looking[Symbol.asyncDispose]();
  await losesOnEach(50);
  await hub.subscribe({ every: 1, only: "all" }, (some) => void events.push(...some));
  assert.equal(await tell(), 0, "nobody looked when it was lost");
  assert.deepEqual(troubles, []);
  await hub[Symbol.asyncDispose]();
});

test("EventHub counts what the kernel lost before programs heed another rate as so many as it stood for then", async () => {
  const { hub, world, kernel, sampling, losesOnEach, troubles } = await setUp();
  const writeMap = kernel.writeMap.bind(kernel);
  let hasLost = false;
  kernel.writeMap = async (identity, ...entries) => {
    if (identity.key === traceSpec.key && (await sampling())[0] === 1 && !hasLost) {
      hasLost = true;
      await losesOnEach(1000);
    }
    await writeMap(identity, ...entries);
  };
  const events: TraceEvent[] = [];
  const looking = await hub.subscribe({ every: 1, only: "all" }, (some) => void events.push(...some));
  const flood = 4000;
  for (let each = 0; each < flood; each++) world.emit("node/events", record("a", "drop"));
  await until(() => hasLost);
  const factor = Number((await sampling())[0]);
  assert.ok(factor > 4, `one in ${factor}`);
  const count = (): number => events.reduce((sum, { missed = 0 }) => sum + 1 + missed, 0);
  let after = 0;
  for (; count() < flood + 2000 && after < 100; after++) {
    world.emit("node/events", record("a", "drop"));
    await sleep(20);
  }
  assert.ok(count() >= flood + 2000, `${count()} of ${flood + 2000}`);
  assert.ok(
    count() <= flood + 2000 + (after + 1) * factor,
    `${count()} of ${flood + 2000}, ${after} of ${factor} each`,
  );
  await looking[Symbol.asyncDispose]();
  assert.deepEqual(troubles, []);
  await hub[Symbol.asyncDispose]();
});

test("EventHub explains by what the maps hold since the plan changed", async () => {
  const definition = { type: "hash", keySize: 1, valueSize: 1, maxEntries: 4, flags: 0 } as const;
  const listed = (key: string, value: number) => ({
    key,
    name: "list",
    definition,
    contents: {
      kind: "sealed",
      digest: key,
      entries: { count: 1, keys: Uint8Array.of(1), values: Uint8Array.of(value) },
    } as const,
  });
  const explanations = {
    twin: { globals: {}, scratch: "explained" },
    roles: ["list"],
    explain: (of: { readonly owner: ObjectRef }, _: unknown, readings: MapReadings): Decision => ({
      owner: of.owner,
      verdict: "pass",
      reason: "r",
      text: `${readings.get("list")?.values[0]}`,
    }),
  };
  const planOf = (key: string, value: number): NodePlan => ({
    ...plan,
    maps: [...plan.maps, listed(key, value)],
    instances: [{ ...instance("a"), maps: { list: key } }],
  });
  const current = { plan: planOf("one", 1) };
  const { hub, world, kernel } = await setUp(new FakeWorld(), current, { ...judge, explanations });
  const texts: string[] = [];
  await hub.subscribe({ every: 1, only: "all" }, (events) =>
    texts.push(...events.map(({ decision }) => decision.text)),
  );
  world.emit("node/events", record("a", "pass"));
  await until(() => texts.length === 1);
  current.plan = planOf("two", 2);
  await kernel.createMap(listed("two", 2));
  await hub.refresh();
  world.emit("node/events", record("a", "pass"));
  await until(() => texts.length === 2);
  assert.deepEqual(texts, ["1", "2"]);
});

test("EventHub goes on when the log throws at a record", async () => {
  const log = {
    isWanted: () => true,
    take: () => {
      throw new RangeError("no record");
    },
  };
  const { hub, world, troubles } = await setUp(new FakeWorld(), { plan }, judge, log);
  const events: TraceEvent[] = [];
  await hub.subscribe({ every: 1, only: "all" }, (more) => void events.push(...more));
  world.emit("node/events", new Uint8Array(8));
  world.emit("node/events", record("a", "pass"));
  await until(() => events.length === 1);
  assert.deepEqual(troubles, [new RangeError("no record")]);
});
