import assert from "node:assert/strict";
import { test } from "node:test";
import { KernelError } from "@bpfleet/base";
import { applyActions, type Applied } from "./apply.ts";
import { assemblePlan } from "./assemble.ts";
import { diffPlan } from "./diff.ts";
import { observePlan } from "./observe-plan.ts";
import { packEntries } from "./entries.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { FakeWorld } from "./fake-world.ts";
import { emptyJournal, journalAfter, journalBefore, ownedKeys } from "./journal.ts";
import type { HookRequest, ObservedHook } from "./port.ts";
import type { MapSpec, NodePlan, ProgramSpec } from "./specs.ts";

const map = (key: string): MapSpec => ({
  key,
  name: "m",
  definition: { type: "hash", keySize: 4, valueSize: 4, maxEntries: 2, flags: 0 },
  contents: { kind: "live" },
});
const program = (key: string, mapKey: string): ProgramSpec => ({
  key,
  name: "p",
  type: "xdp",
  object: { name: "o", digest: "1" },
  entry: "main",
  globals: {},
  maps: { m: mapKey },
});
const attach = (at: string, key: string) => ({
  point: { hook: "xdp", interface: at } as const,
  member: { program: key, priority: 0, proceedOn: [2] },
});

const emptyPart = { maps: [], programs: [], attachments: [], instances: [], problems: [] };

const partOf = (name: string, at: string) => ({
  maps: [map(`${name}/map`)],
  programs: [program(`${name}/xdp`, `${name}/map`)],
  attachments: [attach(at, `${name}/xdp`)],
});

/** Two objects that have nothing to do with each other. */
const twoPlan = assemblePlan([
  {
    maps: [map("a/map")],
    programs: [program("a/xdp", "a/map")],
    attachments: [attach("eth0", "a/xdp")],
    instances: [],
    problems: [],
  },
  {
    maps: [map("b/map")],
    programs: [program("b/xdp", "b/map")],
    attachments: [attach("eth1", "b/xdp")],
    instances: [],
    problems: [],
  },
]);

function worldWith(...interfaces: string[]): FakeWorld {
  const world = new FakeWorld();
  for (const name of interfaces) world.addInterface(name);
  return world;
}

async function apply(world: FakeWorld, plan: NodePlan, stopAfter?: number): Promise<Applied> {
  const port = new FakeKernel(world);
  const observed = await observePlan(port, plan);
  return applyActions(diffPlan(plan, observed, emptyJournal), port, { plan, observed, stopAfter });
}

function states(applied: Applied): Record<string, string> {
  return Object.fromEntries(applied.results.map((item) => [`${item.item} ${item.key}`, item.state]));
}

test("applyActions withholds only what depends on a failure, and says what it waits for", async () => {
  const world = worldWith("eth0", "eth1");
  world.intercept = ({ method, key }) =>
    method === "createMap" && key === "a/map"
      ? new KernelError("create map a/map: no memory (ENOMEM)", { code: "too-big", call: "x", retry: "backoff" })
      : undefined;
  const applied = await apply(world, twoPlan);
  assert.deepEqual(states(applied), {
    "map a/map": "failed",
    "map b/map": "in-force",
    "program a/xdp": "withheld",
    "program b/xdp": "in-force",
    "hook xdp/eth0": "withheld",
    "hook xdp/eth1": "in-force",
  });
  assert.equal(applied.isComplete, false);
  const hook = applied.results.find((item) => item.key === "xdp/eth0");
  assert.equal(hook?.error?.code, "too-big");
  assert.match(hook?.error?.message ?? "", /no memory \(ENOMEM\)/);
});

test("applyActions says that an interface is missing, and all else is in force", async () => {
  const applied = await apply(worldWith("eth1"), twoPlan);
  assert.deepEqual(
    Object.entries(states(applied)).filter(([, state]) => state !== "in-force"),
    [["hook xdp/eth0", "failed"]],
  );
  assert.equal(applied.results.find((item) => item.key === "xdp/eth0")?.error?.code, "interface-missing");
});

test("applyActions falls back to skb where the driver takes no XDP, with what the driver said", async () => {
  const world = worldWith("eth0", "eth1");
  world.genericOnly.add("eth0");
  const { results, isComplete } = await apply(world, twoPlan);
  assert.ok(isComplete);
  const hook = (key: string) => results.find((item) => item.key === key)?.hook;
  assert.equal(hook("xdp/eth0")?.mode, "skb");
  assert.match(hook("xdp/eth0")?.reason ?? "", /the driver takes no XDP program/);
  assert.deepEqual(hook("xdp/eth1"), { mode: "native", chain: "direct", memberModes: [] });
  const journal = journalAfter(emptyJournal, twoPlan, results);
  const port = new FakeKernel(world);
  const observed = await port.observe();
  const again = await applyActions([], port, { plan: twoPlan, observed, journal });
  assert.deepEqual(
    again.results.filter((item) => item.item === "hook"),
    results.filter((item) => item.item === "hook"),
  );
});

test("applyActions stops after as many actions as it is told", async () => {
  const world = worldWith("eth0", "eth1");
  const { outcomes, isComplete, results } = await apply(world, twoPlan, 3);
  assert.equal(outcomes.length, 3);
  assert.equal(isComplete, false);
  assert.equal(results.find((item) => item.key === "xdp/eth0")?.state, "withheld");
  assert.equal(world.hooks.size, 0);
});

test("applyActions turns an error that is no KernelError into an internal one", async () => {
  const world = worldWith("eth0", "eth1");
  world.intercept = ({ key }) => (key === "xdp/eth0" ? new TypeError("oops") : undefined);
  const error = (await apply(world, twoPlan)).results.find((item) => item.key === "xdp/eth0")?.error;
  assert.equal(error?.code, "internal");
  assert.match(error?.message ?? "", /^attach xdp\/eth0.*: oops$/);
});

test("applyActions reports generations that cannot be inlined, and the hook stays in force with stubs", async () => {
  const world = worldWith("eth0");
  const both = assemblePlan([
    {
      maps: [map("a/map")],
      programs: [program("a/xdp", "a/map"), program("b/xdp", "a/map")],
      attachments: [attach("eth0", "a/xdp"), attach("eth0", "b/xdp")],
      instances: [],
      problems: [],
    },
  ]);
  let sets = 0;
  world.intercept = ({ method }) =>
    method === "setHook" && ++sets === 2
      ? new KernelError("too many instructions", { code: "too-big", call: "x", retry: "never" })
      : undefined;
  const applied = await apply(world, both);
  assert.equal(applied.refusedInline.length, 1);
  const hook = applied.results.find((item) => item.item === "hook");
  assert.equal(hook?.state, "in-force");
  assert.deepEqual(hook?.hook?.memberModes, ["stub", "stub"]);
  const port = new FakeKernel(world);
  assert.deepEqual(
    diffPlan(both, await observePlan(port, both), { ...emptyJournal, refusedInline: applied.refusedInline }),
    [],
  );
});

test("journalBefore and journalAfter remember whose entries may be ours until the map is as planned", () => {
  const kept = (keys: readonly string[]): NodePlan =>
    assemblePlan([
      {
        maps: [
          {
            ...map("k"),
            contents: {
              kind: "kept",
              prune: false,
              entries: packEntries(keys.map((key) => [key, Uint8Array.of(1, 1, 1, 1)] as const)),
            },
          },
        ],
        programs: [],
        attachments: [],
        instances: [],
        problems: [],
      },
    ]);
  const one = kept(["00000001", "00000002"]);
  const two = kept(["00000002", "00000003"]);
  const spec = two.maps[0] as MapSpec;
  const settled = journalAfter(journalBefore(emptyJournal, one), one, [{ item: "map", key: "k", state: "in-force" }]);
  assert.deepEqual([...ownedKeys(settled, spec)], ["00000001", "00000002"]);
  const before = journalBefore(settled, two);
  assert.deepEqual([...ownedKeys(before, spec)], ["00000001", "00000002", "00000003"]);
  const failed = journalAfter(before, two, [{ item: "map", key: "k", state: "failed" }]);
  assert.deepEqual([...ownedKeys(failed, spec)], ["00000001", "00000002", "00000003"]);
  assert.deepEqual(
    [...ownedKeys(journalAfter(before, two, [{ item: "map", key: "k", state: "in-force" }]), spec)],
    ["00000002", "00000003"],
  );
});

test("applyActions looks at thousands of hooks in force without comparing each with each", async () => {
  const names = Array.from({ length: 8000 }, (_, at) => `veth${at}`);
  const plan = assemblePlan([
    {
      maps: [map("a/map")],
      programs: [program("a/xdp", "a/map")],
      attachments: names.map((name) => attach(name, "a/xdp")),
      instances: [],
      problems: [],
    },
  ]);
  const result = { mode: "native", chain: "direct", memberModes: [] } as const;
  const hooks = plan.hooks.map(({ key, point }, at): ObservedHook => {
    return { key, point, generation: "1", members: [1], isAttached: true, linkId: at, programId: 1, result };
  });
  const observed = { maps: [], programs: [], hooks };
  const started = performance.now();
  const { results } = await applyActions([], new FakeKernel(new FakeWorld()), { plan, observed });
  const seconds = (performance.now() - started) / 1000;
  assert.equal(results.filter(({ hook }) => hook?.mode === "native").length, names.length);
  // Each with each took minutes.
  assert.ok(seconds < 10, `${seconds} s`);
});

test("applyActions adds what is new before it is allowed to change what is there", async () => {
  const world = worldWith("eth0", "eth1");
  await apply(world, assemblePlan([{ ...emptyPart, ...partOf("a", "eth0") }]));
  const plan = assemblePlan([
    { ...emptyPart, ...partOf("a", "eth0"), programs: [{ ...program("a/xdp", "a/map"), globals: { knob: 1 } }] },
    { ...emptyPart, ...partOf("b", "eth1") },
  ]);
  const port = new FakeKernel(world);
  const observed = await observePlan(port, plan);
  const { promise: allowed, resolve: allow } = Promise.withResolvers<void>();
  const done: string[] = [];
  const before = world.hooks.get("xdp/eth0")?.generation;
  const applying = applyActions(diffPlan(plan, observed, emptyJournal), port, {
    plan,
    observed,
    beforeChanges: () => allowed,
    onAction: ({ action }) => void done.push(action.do),
  });
  while (!done.includes("load-program")) await new Promise((resolve) => setImmediate(resolve));
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([...new Set(done)], ["create-map", "load-program"]);
  assert.equal(world.hooks.get("xdp/eth0")?.generation, before);
  allow();
  assert.equal((await applying).isComplete, true);
  assert.notEqual(world.hooks.get("xdp/eth0")?.generation, before);
});

test("applyActions sets new hooks by twos", async () => {
  const names = ["eth0", "eth1", "eth2", "eth3", "eth4"];
  const world = worldWith(...names);
  const programs = { maps: [map("a/map")], programs: [program("a/xdp", "a/map")] };
  const plan = assemblePlan([{ ...emptyPart, ...programs, attachments: names.map((name) => attach(name, "a/xdp")) }]);
  const port = new FakeKernel(world);
  let now = 0;
  let most = 0;
  const slow = Object.assign(port, {
    setHook: async (request: HookRequest) => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setImmediate(resolve));
      now--;
      return FakeKernel.prototype.setHook.call(port, request);
    },
  });
  const observed = await observePlan(slow, plan);
  const { isComplete } = await applyActions(diffPlan(plan, observed, emptyJournal), slow, { plan, observed });
  assert.ok(isComplete);
  assert.equal(most, 2);
  assert.deepEqual(
    [...world.hooks.keys()].toSorted(),
    names.map((name) => `xdp/${name}`),
  );
});
