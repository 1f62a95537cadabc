import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { KernelError } from "@bpfleet/base";
import { renderAction } from "./action.ts";
import { applyActions } from "./apply.ts";
import { diffPlan } from "./diff.ts";
import { observePlan } from "./observe-plan.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { emptyJournal } from "./journal.ts";
import type { HookRequest, HookResult, MapIdentity } from "./port.ts";
import type { MapSpec } from "./specs.ts";
import {
  apply,
  failing,
  first,
  lessOf,
  nameOf,
  planOf,
  second,
  slots,
  withOther,
  worldOf,
} from "./testing/table-edits.ts";

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
