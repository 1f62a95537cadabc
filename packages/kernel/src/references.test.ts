import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { KernelError } from "@bpfleet/base";
import { renderAction } from "./action.ts";
import { applyActions, type Applied } from "./apply.ts";
import { assemblePlan } from "./assemble.ts";
import { diffPlan } from "./diff.ts";
import { observePlan } from "./observe-plan.ts";
import { noEntries, packEntries, slotsOf } from "./entries.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { FakeWorld } from "./fake-world.ts";
import { mapIdentity, renderIdentity } from "./identity.ts";
import { emptyJournal } from "./journal.ts";
import type { HookRequest, HookResult, MapIdentity } from "./port.ts";
import { emptyPlan, mapFlags, type MapDefinition, type MapSpec, type NodePlan, type ProgramSpec } from "./specs.ts";

const inner: MapDefinition = { type: "array", keySize: 4, valueSize: 64, maxEntries: 1, flags: mapFlags.innerMap };
const hitsOf: MapDefinition = { type: "percpu_array", keySize: 4, valueSize: 16, maxEntries: 4, flags: 0 };
const baseOf: MapDefinition = { type: "array", keySize: 4, valueSize: 24, maxEntries: 4, flags: 0 };

interface Wish {
  /** What the table says; other texts, other lines. */
  readonly table: string;
  readonly rules: readonly number[];
  readonly slot: number;
  readonly interfaces?: readonly string[];
}

/** A table whose lines name the slot of their counters: both are found through maps of maps. */
function planOf({ table, rules, slot, interfaces = ["eth0"] }: Wish): NodePlan {
  const outer = (key: string, of: MapDefinition, at: number, map: string): MapSpec => ({
    key,
    name: "outer",
    definition: { type: "array_of_maps", keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 },
    contents: { kind: "refers", inner: of, entries: [{ slot: at, map }] },
  });
  const digest = rules.join();
  const base = packEntries(rules.map((id, at) => [indexKey(at + 1), words(id, 0, 0)]));
  const maps: MapSpec[] = [
    outer("t/counters", hitsOf, slot, "t/rules/hits"),
    outer("t/table", inner, 0, "t/lines"),
    {
      key: "t/lines",
      name: "lines",
      definition: { ...inner, maxEntries: table.length },
      contents: { kind: "sealed", digest: table, entries: noEntries },
    },
    {
      key: "t/rules/hits",
      name: "hits",
      definition: hitsOf,
      contents: { kind: "sealed", digest, entries: noEntries },
      carries: "rule-hits",
    },
    {
      key: "t/rules/base",
      name: "base",
      definition: baseOf,
      contents: { kind: "sealed", digest, entries: base },
      carries: "rule-base",
    },
  ];
  const program: ProgramSpec = {
    key: "t/judge",
    name: "judge",
    type: "xdp",
    object: { name: "o", digest: "1" },
    entry: "main",
    globals: {},
    maps: { counters: "t/counters", table: "t/table" },
  };
  const attachments = interfaces.map((at) => ({
    point: { hook: "xdp", interface: at } as const,
    member: { program: program.key, priority: 0, proceedOn: [2] },
  }));
  return assemblePlan([{ maps, programs: [program], attachments, instances: [], problems: [] }]);
}

function indexKey(at: number): string {
  return Buffer.from(Uint32Array.of(at).buffer).toString("hex");
}

function words(...numbers: number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(numbers.map(BigInt)).buffer);
}

interface Run extends Applied {
  readonly actions: readonly string[];
}

async function apply(world: FakeWorld, plan: NodePlan, stopAfter?: number, port = new FakeKernel(world)): Promise<Run> {
  const observed = await observePlan(port, plan);
  const actions = diffPlan(plan, observed, emptyJournal);
  const applied = await applyActions(actions, port, { plan, observed, stopAfter });
  return { ...applied, actions: actions.map(renderAction) };
}

/** `table[0]` → what it refers to. */
function slots(world: FakeWorld): Record<string, string> {
  const names = new Map([...world.maps.values()].map(({ id, identity }) => [id, renderIdentity(identity)]));
  return Object.fromEntries(
    [...world.maps.values()]
      .filter((map) => map.inner !== undefined)
      .flatMap(({ identity, entries }) =>
        [...slotsOf(packEntries(entries))].map(([slot, id]) => [`${identity.key}[${slot}]`, names.get(id) ?? "gone"]),
      ),
  );
}

function worldOf(...interfaces: string[]): FakeWorld {
  const world = new FakeWorld();
  for (const name of interfaces) world.addInterface(name);
  return world;
}

function nameOf(plan: NodePlan, key: string): string {
  const spec = plan.maps.find((map) => map.key === key);
  assert.ok(spec !== undefined);
  return renderIdentity(mapIdentity(spec));
}

const first: Wish = { table: "a", rules: [1, 2], slot: 0 };
const second: Wish = { table: "bb", rules: [2, 3], slot: 1 };

function failing(world: FakeWorld, method: string, key: string): void {
  const error = new KernelError(`${method} ${key}: no memory (ENOMEM)`, { code: "busy", call: "x", retry: "backoff" });
  world.intercept = (call) => (call.method === method && call.key === key ? error : undefined);
}

test("diffPlan puts references before the programs that look there, and an edit changes nothing but them", async () => {
  const world = worldOf("eth0");
  assert.deepEqual((await apply(world, planOf(first))).actions, [
    "create map t/counters",
    "create map t/lines",
    "create map t/rules/base",
    "create map t/rules/hits",
    "create map t/table",
    "put map t/rules/hits into t/counters[0]",
    "put map t/lines into t/table[0]",
    "load program t/judge",
    "attach xdp/eth0: t/judge",
  ]);
  const edit = await apply(world, planOf(second));
  assert.deepEqual(edit.actions, [
    "create map t/lines",
    "create map t/rules/base",
    "create map t/rules/hits",
    "put map t/rules/hits into t/counters[1]",
    "put map t/lines into t/table[0]",
    "carry counters to t/rules/base",
    "empty t/counters[0]",
    "remove map t/lines",
    "remove map t/rules/hits",
    "remove map t/rules/base",
  ]);
  assert.ok(edit.isComplete);
  assert.deepEqual(slots(world), {
    "t/counters[1]": nameOf(planOf(second), "t/rules/hits"),
    "t/table[0]": nameOf(planOf(second), "t/lines"),
  });
  assert.deepEqual((await apply(world, planOf(second))).actions, []);
});

test("diffPlan sets the hooks of an edit before what they judge by is put in place of another", async () => {
  const world = worldOf("eth0", "eth1");
  await apply(world, planOf(first));
  const { actions } = await apply(world, planOf({ ...second, interfaces: ["eth0", "eth1"] }));
  assert.deepEqual(
    actions.filter((what) => /attach|lines into/.test(what)),
    ["attach xdp/eth1: t/judge", "put map t/lines into t/table[0]"],
  );
});

test("diffPlan begins with hooks whose programs run elsewhere as they are, and with no others", async () => {
  const world = worldOf("eth0", "eth1");
  await apply(world, planOf(first));
  const wider = planOf({ ...second, interfaces: ["eth0", "eth1"] });
  const begin = async (plan: NodePlan): Promise<string> => {
    const [action] = diffPlan(plan, await observePlan(new FakeKernel(world), plan), emptyJournal);
    return action === undefined ? "" : renderAction(action);
  };
  assert.equal(await begin(wider), "attach xdp/eth1: t/judge");
  const programs = wider.programs.map((program) => ({ ...program, globals: { knob: 1 } }));
  assert.equal(await begin({ ...wider, programs }), "create map t/lines", "another program is loaded first");
  world.hooks.clear();
  assert.equal(await begin(wider), "create map t/lines", "it runs nowhere");
});

test("diffPlan converges after a stop at every action of such an edit, and the table always has its counters", async () => {
  const total = 11;
  const after = planOf({ ...second, interfaces: ["eth0", "eth1"] });
  for (let stop = 0; stop <= total; stop++) {
    const world = worldOf("eth0", "eth1");
    await apply(world, planOf(first));
    await apply(world, after, stop);
    const now = slots(world);
    const isNew = now["t/table[0]"] === nameOf(after, "t/lines");
    const [plan, slot] = isNew ? [after, 1] : [planOf(first), 0];
    assert.equal(now[`t/counters[${slot}]`], nameOf(plan, "t/rules/hits"), `stopped after ${stop}`);
    assert.ok(!isNew || world.hooks.has("xdp/eth1"), "all that is to be judged by it is");
    await apply(world, after);
    assert.deepEqual((await apply(world, after)).actions, []);
    const back = await apply(world, planOf(first));
    assert.ok(back.isComplete);
    assert.deepEqual((await apply(world, planOf(first))).actions, []);
  }
});

/** Programs look at the earlier map a while longer, and the kernel rests after each hook. */
class SlowKernel extends FakeKernel {
  readonly done: string[] = [];

  override async putReference(spec: MapSpec, slot: number, map: MapIdentity): Promise<void> {
    await super.putReference(spec, slot, map);
    this.done.push(`put ${spec.key}`);
    await sleep(10);
    this.done.push(`let go of ${spec.key}`);
  }

  override async setHook(request: HookRequest): Promise<HookResult> {
    this.done.push(`set ${request.spec.key}`);
    const result = await super.setHook(request);
    await sleep(10);
    this.done.push(`${request.spec.key} is set`);
    return result;
  }

  override async dropReference(identity: MapIdentity, slot: number): Promise<void> {
    this.done.push(`drop ${identity.key}`);
    await super.dropReference(identity, slot);
  }
}

test("applyActions goes on while programs let go of an earlier map, and takes nothing away before they have", async () => {
  const world = worldOf("eth0", "eth1");
  await apply(world, planOf(first));
  const slow = new SlowKernel(world);
  const wish = { ...second, interfaces: ["eth0", "eth1"] };
  const observed = await observePlan(slow, planOf(wish));
  const { isComplete } = await applyActions(diffPlan(planOf(wish), observed, emptyJournal), slow, {
    plan: planOf(wish),
    observed,
    beforeChanges: async () => void slow.done.push("kept"),
  });
  assert.ok(isComplete);
  const [counters, table] = ["t/counters", "t/table"];
  const inOrder = (...steps: readonly string[]): void =>
    assert.deepEqual(
      slow.done.filter((step) => steps.includes(step)),
      steps,
    );
  inOrder("set xdp/eth1", `put ${counters}`, "xdp/eth1 is set", `put ${table}`);
  inOrder("set xdp/eth1", "kept", "xdp/eth1 is set");
  inOrder(`put ${table}`, `let go of ${table}`, `drop ${counters}`);
  inOrder(`let go of ${counters}`, `drop ${counters}`);
  const fresh = new SlowKernel(worldOf("eth0"));
  await apply(fresh.world, planOf(first), undefined, fresh);
  assert.ok(fresh.done.indexOf(`let go of ${table}`) < fresh.done.findIndex((what) => what.startsWith("set ")));
});

test("applyActions leaves the earlier map in its slot when the next one cannot be made, and says so", async () => {
  for (const [method, key, state] of [
    ["createMap", "t/lines", "withheld"],
    ["putReference", "t/table", "failed"],
  ] as const) {
    const world = worldOf("eth0");
    await apply(world, planOf(first));
    failing(world, method, key);
    const { results, outcomes } = await apply(world, planOf(second));
    const table = results.find((item) => item.key === "t/table");
    assert.deepEqual([table?.state, table?.earlier], [state, ["t/lines"]]);
    assert.match(table?.error?.message ?? "", /no memory/);
    assert.equal(slots(world)["t/table[0]"], nameOf(planOf(first), "t/lines"));
    assert.equal(slots(world)["t/counters[0]"], nameOf(planOf(first), "t/rules/hits"), "its counters stay with it");
    const kept = outcomes
      .filter(({ state: became }) => became === "withheld")
      .map(({ action }) => renderAction(action));
    assert.deepEqual(
      kept.filter((what) => !what.startsWith("put")),
      [
        "carry counters to t/rules/base",
        "empty t/counters[0]",
        "remove map t/lines",
        "remove map t/rules/hits",
        "remove map t/rules/base",
      ],
    );
    for (const map of planOf(first).maps) assert.ok(world.maps.has(nameOf(planOf(first), map.key)), map.key);
    world.intercept = () => undefined;
    assert.ok((await apply(world, planOf(second))).isComplete);
    assert.deepEqual((await apply(world, planOf(second))).actions, []);
  }
});

test("diffPlan does not keep tables that never came to be", async () => {
  const world = worldOf("eth0");
  await apply(world, planOf(first));
  failing(world, "putReference", "t/table");
  for (const table of ["bb", "ccc", "dddd"]) {
    await apply(world, planOf({ ...second, table }));
    const lines = [...world.maps.keys()].filter((name) => name.startsWith("t/lines@"));
    const expected = [planOf(first), planOf({ ...second, table })].map((plan) => nameOf(plan, "t/lines"));
    assert.deepEqual(lines.toSorted(), expected.toSorted());
  }
  world.intercept = () => undefined;
  assert.ok((await apply(world, planOf(second))).isComplete);
  assert.equal(world.maps.size, 5);
});

test("applyActions loads no program over a slot that could not be filled, not even the next time", async () => {
  const world = worldOf("eth0");
  failing(world, "createMap", "t/lines");
  for (let time = 0; time < 2; time++) {
    const { results } = await apply(world, planOf(first));
    assert.equal(results.find((item) => item.item === "program")?.state, "withheld");
    assert.equal(world.hooks.size, 0);
  }
  world.intercept = () => undefined;
  assert.ok((await apply(world, planOf(first))).isComplete);
});

test("applyActions flips the table although an interface is missing, and carries the counters", async () => {
  const world = worldOf("eth0");
  await apply(world, planOf({ ...first, interfaces: ["eth0", "eth1"] }));
  const { results } = await apply(world, planOf({ ...second, interfaces: ["eth0", "eth1"] }));
  assert.deepEqual(
    results.filter((item) => item.state !== "in-force").map((item) => item.key),
    ["xdp/eth1"],
  );
  assert.deepEqual(slots(world), {
    "t/counters[1]": nameOf(planOf(second), "t/rules/hits"),
    "t/table[0]": nameOf(planOf(second), "t/lines"),
  });
  assert.equal([...world.maps.values()].filter(({ identity }) => identity.key === "t/lines").length, 1);
});

test("diffPlan repairs slots that somebody changed", async () => {
  const world = worldOf("eth0");
  const plan = planOf(first);
  await apply(world, plan);
  const wanted = slots(world);
  const map = (key: string) => world.maps.get(nameOf(plan, key));
  const theirs = new Uint8Array(Uint32Array.of(world.nextId()).buffer);
  map("t/table")?.entries.clear();
  assert.deepEqual((await apply(world, plan)).actions, ["put map t/lines into t/table[0]"]);
  map("t/table")?.entries.set(indexKey(0), theirs);
  map("t/counters")?.entries.set(indexKey(3), theirs);
  assert.deepEqual((await apply(world, plan)).actions, ["put map t/lines into t/table[0]", "empty t/counters[3]"]);
  assert.deepEqual(slots(world), wanted);
  world.maps.delete(nameOf(plan, "t/lines"));
  assert.deepEqual((await apply(world, plan)).actions, ["create map t/lines", "put map t/lines into t/table[0]"]);
});

test("diffPlan replaces a map of maps that takes other maps together with its programs, and removes what it referred to last", async () => {
  const world = worldOf("eth0");
  await apply(world, planOf(first));
  const plan = planOf(second);
  const maps = plan.maps.map((map): MapSpec =>
    map.key === "t/table" && map.contents.kind === "refers"
      ? { ...map, contents: { ...map.contents, inner: { ...inner, maxEntries: 9 } } }
      : map,
  );
  const { actions, isComplete } = await apply(world, { ...plan, maps });
  assert.deepEqual(actions.slice(-9), [
    "load program t/judge",
    "replace xdp/eth0: t/judge",
    "carry counters to t/rules/base",
    "empty t/counters[0]",
    "remove program t/judge",
    "remove map t/table",
    "remove map t/lines",
    "remove map t/rules/hits",
    "remove map t/rules/base",
  ]);
  assert.ok(isComplete);
  await apply(world, emptyPlan);
  assert.deepEqual(await new FakeKernel(world).observe(), { maps: [], programs: [], hooks: [] });
});

test("assemblePlan leaves out what refers to a map that nobody plans, with what builds on it", () => {
  const plan = planOf(first);
  const part = (maps: readonly MapSpec[]) => ({
    maps,
    programs: plan.programs,
    attachments: plan.hooks.flatMap(({ point, members }) => members.map((member) => ({ point, member }))),
    instances: [],
    problems: [],
  });
  const without = assemblePlan([part(plan.maps.filter(({ key }) => key !== "t/lines"))]);
  assert.deepEqual(
    without.maps.map(({ key }) => key),
    ["t/counters", "t/rules/base", "t/rules/hits"],
  );
  assert.deepEqual([without.programs, without.hooks], [[], []]);
  assert.deepEqual(
    without.problems.map(({ message }) => message),
    [
      "make map t/table: it refers to map t/lines, which nothing on this node declares",
      "load program t/judge: it uses map t/table, which nothing on this node declares",
    ],
  );
  const lines = plan.maps.find(({ key }) => key === "t/lines");
  assert.ok(lines !== undefined);
  const other = { ...part([{ ...lines, name: "other" }]), programs: [], attachments: [] };
  const refused = assemblePlan([other, part(plan.maps)]);
  assert.ok(!refused.maps.some(({ key }) => key === "t/table"));
  assert.deepEqual(
    refused.problems.map(({ reason }) => reason),
    ["DuplicateKey"],
  );
});

/** A packet for a rule, by the way that programs take: the table that is in force names the slot of its counters. */
function count(world: FakeWorld, wishes: readonly Wish[], ruleIndex: number): number {
  const now = slots(world);
  const wish = wishes.find((each) => nameOf(planOf(each), "t/lines") === now["t/table[0]"]);
  assert.ok(wish !== undefined);
  const hits = world.maps.get(now[`t/counters[${wish.slot}]`] ?? "");
  assert.equal(
    hits && renderIdentity(hits.identity),
    nameOf(planOf(wish), "t/rules/hits"),
    "the table has its counters",
  );
  const at = ruleIndex % (wish.rules.length + 1);
  const value = hits?.entries.get(indexKey(at));
  assert.ok(value !== undefined);
  const view = new DataView(value.buffer, value.byteOffset, 8);
  view.setBigUint64(0, view.getBigUint64(0, true) + 1n, true);
  return wish.rules[at - 1] ?? 0;
}

/** Rule id → packets; 0 is "no rule". */
function totals(world: FakeWorld, wish: Wish): Record<number, number> {
  const word = (key: string, at: number, offset: number): number => {
    const value = world.maps.get(nameOf(planOf(wish), key))?.entries.get(indexKey(at));
    assert.ok(value !== undefined);
    return Number(new DataView(value.buffer, value.byteOffset).getBigUint64(offset, true));
  };
  const both = (at: number): number => word("t/rules/hits", at, 0) + word("t/rules/base", at, 8);
  return Object.fromEntries([0, ...wish.rules].map((id, at) => [id, both(at)]));
}

test("carryCounters keeps the counts of every rule of a table that refers to them, through edits stopped anywhere", async () => {
  const wishes: readonly Wish[] = [
    { table: "a", rules: [1, 2], slot: 0 },
    { table: "bb", rules: [2, 3, 1], slot: 1 },
    { table: "ccc", rules: [3], slot: 3 },
    { table: "dddd", rules: [1, 2], slot: 0 },
  ];
  const packets = fc.array(fc.nat({ max: 3 }), { maxLength: 3 });
  const step = fc.record({
    wish: fc.nat({ max: 3 }),
    stops: fc.array(fc.record({ after: fc.nat({ max: 11 }), packets }), { maxLength: 2 }),
    packets,
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 5 }), async (history) => {
      const world = worldOf("eth0");
      await apply(world, planOf(first));
      let expected: Record<number, number> = { 0: 0, 1: 0, 2: 0 };
      const send = (rules: readonly number[]): void => {
        for (const rule of rules) {
          const id = count(world, wishes, rule);
          expected[id] = (expected[id] ?? 0) + 1;
        }
      };
      for (const { wish: at, stops, packets: after } of history) {
        const wish = wishes[at] ?? first;
        for (const stop of stops) {
          await apply(world, planOf(wish), stop.after);
          send(stop.packets);
        }
        assert.ok((await apply(world, planOf(wish))).isComplete);
        assert.deepEqual((await apply(world, planOf(wish))).actions, []);
        expected = Object.fromEntries([0, ...wish.rules].map((id) => [id, expected[id] ?? 0]));
        assert.deepEqual(totals(world, wish), expected);
        send(after);
        assert.deepEqual(totals(world, wish), expected);
        assert.equal(world.maps.size, 5);
      }
    }),
    { numRuns: 100 },
  );
});

test("applyActions puts no table for which a program or hook cannot be had, and all of it when they can", async () => {
  const changed = planOf({ ...second, interfaces: ["eth0", "eth1"] });
  const plan = { ...changed, programs: changed.programs.map((program) => ({ ...program, globals: { knob: 1 } })) };
  for (const [method, key] of [
    ["loadProgram", "t/judge"],
    ["setHook", "xdp/eth0"],
    ["setHook", "xdp/eth1"],
  ] as const) {
    const world = worldOf("eth0", "eth1");
    await apply(world, planOf(first));
    failing(world, method, key);
    const { results } = await apply(world, plan);
    assert.equal(slots(world)["t/table[0]"], nameOf(planOf(first), "t/lines"), `${method} ${key}`);
    assert.equal(results.find((item) => item.key === "t/table")?.state, "withheld");
    world.intercept = () => undefined;
    assert.ok((await apply(world, plan)).isComplete);
    assert.equal(slots(world)["t/table[0]"], nameOf(plan, "t/lines"));
  }
});

test("applyActions puts a table though one place has no interface", async () => {
  const plan = planOf({ ...second, interfaces: ["eth0", "eth1"] });
  const world = worldOf("eth0");
  await apply(world, planOf(first));
  const { results } = await apply(world, plan);
  assert.equal(slots(world)["t/table[0]"], nameOf(plan, "t/lines"));
  assert.equal(results.find((item) => item.key === "xdp/eth1")?.state, "failed");
});

/** The programs do less, and the table that they go by is put first. */
function lessOf(wish: Wish): NodePlan {
  const next = planOf(wish);
  return {
    ...next,
    programs: next.programs.map((program) => ({ ...program, globals: { knob: 1 } })),
    maps: next.maps.map((map) =>
      map.key === "t/table" && map.contents.kind === "refers"
        ? { ...map, contents: { ...map.contents, isBeforePrograms: true } }
        : map,
    ),
  };
}

/** Somebody else's program, on a hook of its own; `knob` makes it another one. */
function withOther(plan: NodePlan, knob: number): NodePlan {
  const [judge] = plan.programs;
  assert.ok(judge !== undefined);
  const other: ProgramSpec = { ...judge, key: "o/count", name: "count", globals: { knob }, maps: {} };
  const spec = { key: "xdp/eth9", point: { hook: "xdp", interface: "eth9" }, members: [memberOf(other.key)] } as const;
  return { ...plan, programs: [...plan.programs, other], hooks: [...plan.hooks, spec] };
}

function memberOf(program: string): NodePlan["hooks"][number]["members"][number] {
  return { program, priority: 0, proceedOn: [2] };
}

function hookGenerations(world: FakeWorld): Record<string, string> {
  return Object.fromEntries([...world.hooks.values()].map(({ key, generation }) => [key, generation]));
}

test("diffPlan puts a table before programs that do less take the place of others, and those only after it", async () => {
  const plan = lessOf(second);
  const world = worldOf("eth0");
  await apply(world, planOf(first));
  const running = hookGenerations(world);
  failing(world, "putReference", "t/table");
  await apply(world, plan);
  assert.deepEqual(hookGenerations(world), running);
  world.intercept = () => undefined;
  const { actions, isComplete } = await apply(world, plan);
  assert.ok(isComplete);
  const told = actions.filter((what) => /replace|lines into/.test(what));
  assert.deepEqual(told, ["put map t/lines into t/table[0]", "replace xdp/eth0: t/judge"]);
});

test("diffPlan lets no hook wait for a table that nothing looks into which runs there or is to", async () => {
  const plan = withOther(lessOf(second), 2);
  const world = worldOf("eth0", "eth9");
  await apply(world, withOther(planOf(first), 1));
  const running = hookGenerations(world);
  failing(world, "putReference", "t/table");
  const { results } = await apply(world, plan);
  const now = hookGenerations(world);
  assert.equal(now["xdp/eth0"], running["xdp/eth0"], "it waits for the table");
  assert.notEqual(now["xdp/eth9"], running["xdp/eth9"], "the other program has come into force");
  assert.deepEqual(
    results.filter(({ item, state }) => item === "hook" && state === "in-force").map(({ key }) => key),
    ["xdp/eth9"],
  );
});

test("diffPlan lets a hook that leaves the programs of a table wait for it too", async () => {
  const wide = { ...first, interfaces: ["eth0", "eth9"] };
  const world = worldOf("eth0", "eth9");
  await apply(world, withOther({ ...planOf(wide), hooks: planOf(first).hooks }, 1));
  await apply(world, planOf(wide));
  const running = hookGenerations(world);
  assert.ok(running["xdp/eth9"] !== undefined);
  failing(world, "putReference", "t/table");
  await apply(world, withOther(lessOf(second), 1));
  assert.deepEqual(hookGenerations(world), running);
  world.intercept = () => undefined;
  const { actions, isComplete } = await apply(world, withOther(lessOf(second), 1));
  assert.ok(isComplete);
  assert.deepEqual(
    actions.filter((what) => /replace|lines into/.test(what)),
    ["put map t/lines into t/table[0]", "replace xdp/eth0: t/judge", "replace xdp/eth9: o/count"],
  );
});

test("applyActions puts a table whatever becomes of programs and hooks that do not look into it", async () => {
  for (const [method, key] of [
    ["loadProgram", "o/count"],
    ["setHook", "xdp/eth9"],
  ] as const) {
    const world = worldOf("eth0", "eth9");
    await apply(world, withOther(planOf(first), 1));
    failing(world, method, key);
    const plan = withOther(lessOf(second), 2);
    await apply(world, plan);
    assert.equal(slots(world)["t/table[0]"], nameOf(plan, "t/lines"), `${method} ${key}`);
  }
});

test("applyActions puts a table though one place refuses again and again, but not while the machine lacks something", async () => {
  const next = planOf({ ...second, interfaces: ["eth0", "eth1"] });
  const plan = { ...next, programs: next.programs.map((program) => ({ ...program, globals: { knob: 1 } })) };
  const puts = async (errno: string, hasFailed: boolean): Promise<boolean> => {
    const world = worldOf("eth0", "eth1");
    await apply(world, planOf({ ...first, interfaces: ["eth0", "eth1"] }));
    const error = new KernelError(`attach (${errno})`, { code: "too-big", call: "x", errno, retry: "backoff" });
    world.intercept = ({ method, key }) => (method === "setHook" && key === "xdp/eth1" ? error : undefined);
    const port = new FakeKernel(world);
    const observed = await observePlan(port, plan);
    const actions = diffPlan(plan, observed, emptyJournal);
    await applyActions(actions, port, {
      plan,
      observed,
      hasFailed: ({ id }) => hasFailed && id === "set-hook xdp/eth1",
    });
    return slots(world)["t/table[0]"] === nameOf(plan, "t/lines");
  };
  assert.equal(await puts("E2BIG", false), false, "it may be another the next time");
  assert.equal(await puts("E2BIG", true), true);
  for (const errno of ["ENOMEM", "EMFILE", "ENFILE", "ENOSPC"]) assert.equal(await puts(errno, true), false, errno);
});
