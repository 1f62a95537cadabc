import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { renderAction } from "./action.ts";
import { assemblePlan } from "./assemble.ts";
import { diffPlan } from "./diff.ts";
import { observePlan } from "./observe-plan.ts";
import { FakeKernel } from "./fake-kernel.ts";
import type { FakeWorld } from "./fake-world.ts";
import { renderIdentity } from "./identity.ts";
import { emptyJournal } from "./journal.ts";
import { emptyPlan, type MapSpec, type NodePlan } from "./specs.ts";
import {
  apply,
  failing,
  first,
  indexKey,
  inner,
  lessOf,
  nameOf,
  planOf,
  second,
  slots,
  withOther,
  worldOf,
  type Wish,
} from "./testing/table-edits.ts";

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
