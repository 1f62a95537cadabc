import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isRemoval, renderAction } from "./action.ts";
import { applyActions } from "./apply.ts";
import { assemblePlan } from "./assemble.ts";
import { diffPlan } from "./diff.ts";
import { observePlan } from "./observe-plan.ts";
import { indexEntries, packEntries, slotsOf } from "./entries.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { FakeWorld } from "./fake-world.ts";
import { mapIdentity, planGenerations, renderIdentity } from "./identity.ts";
import { emptyJournal, journalAfter, journalBefore, type Journal } from "./journal.ts";
import { renderHookKey, type HookPoint } from "./hook-point.ts";
import {
  emptyPlan,
  type MapContents,
  type MapDefinition,
  type MapSpec,
  type NodePlan,
  type ProgramSpec,
} from "./specs.ts";

interface Shape {
  readonly maps: readonly {
    readonly kind: "live" | "sealed" | "kept";
    readonly seed: number;
    readonly prune: boolean;
    readonly isPinned: boolean;
  }[];
  /** What maps of maps refer to: for each, slot → map. */
  readonly outers: readonly Readonly<Record<number, number>>[];
  readonly programs: readonly { readonly maps: readonly number[]; readonly version: number }[];
  readonly hooks: readonly (readonly number[])[];
}

const interfaces = ["eth0", "eth1", "eth2"];
const shape: fc.Arbitrary<Shape> = fc.record({
  maps: fc.array(
    fc.record({
      kind: fc.constantFrom("live", "sealed", "kept"),
      seed: fc.nat({ max: 3 }),
      prune: fc.boolean(),
      isPinned: fc.boolean(),
    }),
    { maxLength: 4 },
  ),
  outers: fc.array(fc.dictionary(fc.constantFrom("0", "1", "2"), fc.nat({ max: 3 })), { maxLength: 2 }),
  programs: fc.array(fc.record({ maps: fc.array(fc.nat({ max: 5 }), { maxLength: 3 }), version: fc.nat({ max: 2 }) }), {
    maxLength: 4,
  }),
  hooks: fc.array(fc.uniqueArray(fc.nat({ max: 3 }), { maxLength: 3 }), { maxLength: 3 }),
});

const inner: MapDefinition = { type: "hash", keySize: 4, valueSize: 4, maxEntries: 8, flags: 0 };

function outerOf(
  index: number,
  references: Readonly<Record<string, number>>,
  isPlanned: (map: number) => boolean,
): MapSpec {
  const entries = Object.entries(references).map(([slot, map]) => ({ slot: Number(slot), map }));
  return {
    key: `outer/${index}`,
    name: "o",
    definition: { type: "array_of_maps", keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 },
    contents: {
      kind: "refers",
      inner,
      entries: entries.filter(({ map }) => isPlanned(map)).map(({ slot, map }) => ({ slot, map: `map/${map}` })),
    },
  };
}

function planOf({ maps, outers, programs, hooks }: Shape): NodePlan {
  const specs = maps.map((map, index): MapSpec => {
    const entries = packEntries(
      Array.from(
        { length: map.seed },
        (_, at) => [`0${at}00000${map.seed}`, Uint8Array.of(at, 0, 0, map.seed)] as const,
      ),
    );
    const contents: MapContents =
      map.kind === "live"
        ? { kind: "live" }
        : map.kind === "sealed"
          ? { kind: "sealed", digest: `d${map.seed}`, entries }
          : { kind: "kept", entries, prune: map.prune };
    const pinPath = map.isPinned ? `/run/bpfd/fs/user/map${index}` : undefined;
    return {
      key: `map/${index}`,
      name: "m",
      definition: inner,
      contents,
      pinPath,
    };
  });
  const referring = outers.map((references, index) => outerOf(index, references, (map) => map < specs.length));
  const all = [...specs, ...referring];
  const programSpecs = programs.map((program, index): ProgramSpec => ({
    key: `program/${index}`,
    name: "p",
    type: "xdp",
    object: { name: "o", digest: `v${program.version}` },
    entry: "main",
    globals: {},
    maps: Object.fromEntries(program.maps.flatMap((map) => all[map]?.key ?? []).map((key) => [key, key])),
  }));
  const attachments = hooks.flatMap((members, index) =>
    members
      .filter((member) => member < programSpecs.length)
      .map((member, at) => ({
        point: { hook: "xdp", interface: interfaces[index] ?? "eth0" } satisfies HookPoint,
        member: { program: `program/${member}`, priority: at, proceedOn: [2] },
      })),
  );
  return assemblePlan([{ maps: all, programs: programSpecs, attachments, instances: [], problems: [] }]);
}

/** Somebody else's doing between two looks of ours. */
type Meddling =
  | { readonly meddle: "unpin-map" | "unpin-program" | "unpin-link" | "write" | "unpin-user"; readonly at: number }
  | { readonly meddle: "recreate"; readonly interface: string }
  | { readonly meddle: "refer"; readonly slot: number; readonly map: number | undefined };

const meddling: fc.Arbitrary<Meddling> = fc.oneof(
  fc.record({
    meddle: fc.constantFrom("unpin-map", "unpin-program", "unpin-link", "write", "unpin-user"),
    at: fc.nat({ max: 5 }),
  }),
  fc.record({ meddle: fc.constant("recreate" as const), interface: fc.constantFrom(...interfaces) }),
  fc.record({
    meddle: fc.constant("refer" as const),
    slot: fc.nat({ max: 3 }),
    map: fc.option(fc.nat(), { nil: undefined }),
  }),
);

function meddleIn(world: FakeWorld, { meddle, ...what }: Meddling): void {
  if ("interface" in what) {
    world.removeInterface(what.interface);
    world.addInterface(what.interface);
    return;
  }
  if ("slot" in what) {
    const ids = [...world.maps.values()].filter((map) => map.inner === undefined).map(({ id }) => id);
    for (const map of world.maps.values()) {
      const key = `0${what.slot}000000`;
      const id = what.map === undefined ? undefined : ids[what.map % Math.max(ids.length, 1)];
      if (map.inner === undefined) continue;
      if (id === undefined) map.entries.delete(key);
      else map.entries.set(key, new Uint8Array(Uint32Array.of(id).buffer));
    }
    return;
  }
  const remove = (held: Map<string, unknown>) => {
    const key = [...held.keys()][what.at % Math.max(held.size, 1)];
    if (key !== undefined) held.delete(key);
  };
  if (meddle === "unpin-map") remove(world.maps);
  if (meddle === "unpin-program") remove(world.programs);
  if (meddle === "unpin-link") remove(world.hooks);
  if (meddle === "unpin-user") remove(world.pathPins);
  if (meddle === "write") {
    const maps = [...world.maps.values()].filter((map) => !map.isFrozen && map.inner === undefined);
    maps[what.at % Math.max(maps.length, 1)]?.entries.set("aaaaaaaa", Uint8Array.of(1, 1, 1, 1));
  }
}

/** The daemon's loop, once: the journal is written before and after. */
async function realise(
  world: FakeWorld,
  plan: NodePlan,
  journal: Journal,
  stopAfter?: number,
): Promise<{ journal: Journal; actions: number }> {
  const port = new FakeKernel(world);
  const observed = await observePlan(port, plan);
  const before = journalBefore(journal, plan);
  const actions = diffPlan(plan, observed, journal);
  const applied = await applyActions(actions, port, { plan, observed, stopAfter });
  if (stopAfter !== undefined && stopAfter < actions.length) return { journal: before, actions: actions.length };
  assert.deepEqual(
    applied.results.filter((item) => item.state !== "in-force"),
    [],
  );
  return {
    journal: journalAfter({ ...before, refusedInline: applied.refusedInline }, plan, applied.results),
    actions: actions.length,
  };
}

function freshWorld(): FakeWorld {
  const world = new FakeWorld();
  for (const name of interfaces) world.addInterface(name);
  world.pathPins.set("/run/bpfd/fs/user/theirs", world.nextId());
  world.foreign.set("xdp/wlan0", { id: world.nextId(), name: "theirs" });
  return world;
}

/** What a plan means for the world, without ids. */
async function meaning(world: FakeWorld): Promise<unknown> {
  const { maps, programs, hooks } = await new FakeKernel(world).observe();
  const ids = new Map(programs.map((program) => [program.programId, renderIdentity(program)]));
  const mapIds = new Map(maps.map((map) => [map.mapId, renderIdentity(map)]));
  return {
    maps: maps.map((map) => `${renderIdentity(map)} ${map.pinPaths.join()}`).toSorted(),
    slots: [...world.maps.values()]
      .filter((map) => map.inner !== undefined)
      .map(({ identity, entries }) => {
        const slots = [...slotsOf(packEntries(entries))].map(([slot, id]) => `${slot} ${mapIds.get(id)}`);
        return `${renderIdentity(identity)} ${slots.toSorted().join()}`;
      })
      .toSorted(),
    programs: programs
      // A program has its maps by name: their order means nothing.
      .map((program) => [program, program.mapIds.map((id) => mapIds.get(id) ?? "").toSorted()] as const)
      .map(([program, used]) => `${renderIdentity(program)} ${used.join()}`)
      .toSorted(),
    hooks: hooks
      .map(
        (hook) => `${hook.key} ${hook.generation} ${hook.isAttached} ${hook.members.map((id) => ids.get(id)).join()}`,
      )
      .toSorted(),
  };
}

test("diffPlan leads to the plan from anywhere, stopped after any number of actions and meddled with, and is empty then", async () => {
  const steps = fc.array(
    fc.record({ shape, stopAfter: fc.nat({ max: 12 }), meddlings: fc.array(meddling, { maxLength: 2 }) }),
    { maxLength: 4 },
  );
  await fc.assert(
    fc.asyncProperty(steps, shape, async (history, last) => {
      const world = freshWorld();
      let journal = emptyJournal;
      for (const step of history) {
        ({ journal } = await realise(world, planOf(step.shape), journal, step.stopAfter));
        for (const what of step.meddlings) meddleIn(world, what);
      }
      const plan = planOf(last);
      ({ journal } = await realise(world, plan, journal));
      assert.equal((await realise(world, plan, journal)).actions, 0);
      const direct = freshWorld();
      await realise(direct, plan, emptyJournal);
      assert.deepEqual(await meaning(world), await meaning(direct));
      for (const spec of plan.maps) assertContents(world, spec);
      if (history.every((step) => step.meddlings.every(({ meddle }) => meddle !== "unpin-user"))) {
        assert.ok(world.pathPins.has("/run/bpfd/fs/user/theirs"));
      }
      assert.deepEqual([...world.foreign.keys()], ["xdp/wlan0"]);
    }),
    { numRuns: 300 },
  );
});

function assertContents(world: FakeWorld, spec: MapSpec): void {
  if (spec.contents.kind === "live" || spec.contents.kind === "refers") return;
  const held = world.maps.get(renderIdentity(mapIdentity(spec)))?.entries ?? new Map<string, Uint8Array>();
  const wanted = indexEntries(spec.contents.entries);
  for (const [key, value] of wanted) assert.deepEqual(held.get(key), value);
  const others = [...held.keys()].filter((key) => !wanted.has(key));
  const allowed = spec.contents.kind === "kept" && !spec.contents.prune ? ["aaaaaaaa"] : [];
  assert.deepEqual(
    others.filter((key) => !allowed.includes(key)),
    [],
  );
}

test("diffPlan takes what others wrote into a map over when its size or type changes, and nothing that was ours", async () => {
  const sized = (maxEntries: number, type: MapDefinition["type"], keys: readonly string[], prune = false): NodePlan => {
    const entries = packEntries(keys.map((key) => [key, Uint8Array.of(7, 0, 0, 0)] as const));
    const definition: MapDefinition = { type, keySize: 4, valueSize: 4, maxEntries, flags: 0 };
    const map: MapSpec = { key: "m", name: "m", definition, contents: { kind: "kept", entries, prune } };
    return assemblePlan([{ maps: [map], programs: [], attachments: [], instances: [], problems: [] }]);
  };
  const [a, b, theirs] = ["0a000000", "0b000000", "ff000000"];
  for (const [next, expected] of [
    [sized(8, "hash", [b]), [b, theirs]],
    [sized(4, "lru_hash", [a]), [a, theirs]],
    [sized(8, "hash", [b], true), [b]],
  ] as const) {
    const world = new FakeWorld();
    const first = sized(4, "hash", [a, b]);
    const { journal } = await realise(world, first, emptyJournal);
    const [before] = world.maps.values();
    before?.entries.set(theirs, Uint8Array.of(1, 0, 0, 0));
    const after = await realise(world, next, journal);
    const [map, ...others] = world.maps.values();
    assert.deepEqual([[...(map?.entries.keys() ?? [])].toSorted(), others], [expected, []]);
    assert.equal((await realise(world, next, after.journal)).actions, 0);
  }
});

test("diffPlan never takes a hook's program away before another is in force", async () => {
  await fc.assert(
    fc.asyncProperty(shape, shape, fc.nat({ max: 15 }), async (first, second, stopAfter) => {
      const world = freshWorld();
      const { journal } = await realise(world, planOf(first), emptyJournal);
      const plan = planOf(second);
      const kept = planOf(first).hooks.filter((hook) => plan.hooks.some((other) => other.key === hook.key));
      await realise(world, plan, journal, stopAfter);
      for (const hook of kept) assert.ok(world.hooks.get(hook.key), `${hook.key} is never empty`);
    }),
  );
});

test("diffPlan with a failing step removes nothing that the step was to replace", async () => {
  await fc.assert(
    fc.asyncProperty(
      shape,
      shape,
      fc.constantFrom("createMap", "putReference", "loadProgram", "setHook"),
      fc.nat({ max: 3 }),
      async (first, second, method, nth) => {
        const world = freshWorld();
        const { journal } = await realise(world, planOf(first), emptyJournal);
        const before = new Map(world.hooks);
        const programsBefore = new Map(world.programs);
        const plan = planOf(second);
        const port = new FakeKernel(world);
        const observed = await observePlan(port, plan);
        const actions = diffPlan(plan, observed, journal);
        let calls = 0;
        world.intercept = (call) => (call.method === method && calls++ === nth ? new Error("no luck") : undefined);
        const { results } = await applyActions(actions, port, { plan, observed });
        for (const item of results) {
          if (item.item !== "hook" || item.state === "in-force") continue;
          const old = before.get(item.key);
          const wanted = new Set(plan.programs.map(({ key }) => key));
          const keyOf = (id: number) => [...programsBefore.values()].find((each) => each.id === id)?.identity.key ?? "";
          const staying = (old?.members ?? []).filter(
            (id) => wanted.has(keyOf(id)) && isMember(plan, item.key, keyOf(id)),
          );
          const now = world.hooks.get(item.key);
          if (method === "setHook" || staying.length === old?.members.length) assert.deepEqual(now, old);
          else if (old !== undefined)
            assert.ok(
              staying.every((id) => now?.members.includes(id)),
              "what is wanted stays",
            );
          for (const [name, program] of programsBefore) {
            if (staying.includes(program.id)) assert.ok(world.programs.has(name), "its programs stay on record");
          }
        }
        world.intercept = () => undefined;
        const after = await realise(world, plan, journal);
        assert.equal((await realise(world, plan, after.journal)).actions, 0);
      },
    ),
    { numRuns: 200 },
  );
});

function isMember(plan: NodePlan, hook: string, program: string): boolean {
  return plan.hooks.some(({ key, members }) => key === hook && members.some((member) => member.program === program));
}

const mapA: MapSpec = {
  key: "maps/a",
  name: "a",
  definition: { type: "hash", keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 },
  contents: { kind: "sealed", digest: "1", entries: packEntries([]) },
};
const programA: ProgramSpec = {
  key: "p/a",
  name: "a",
  type: "xdp",
  object: { name: "o", digest: "1" },
  entry: "main",
  globals: {},
  maps: { a: "maps/a" },
};

function onePlan(map: MapSpec, programs: readonly ProgramSpec[] = [programA]): NodePlan {
  const point: HookPoint = { hook: "xdp", interface: "eth0" };
  return assemblePlan([
    {
      maps: [map],
      programs,
      instances: [],
      problems: [],
      attachments: programs.map((program, priority) => ({
        point,
        member: { program: program.key, priority, proceedOn: [2] },
      })),
    },
  ]);
}

test("diffPlan orders an edit: create, load, replace, remove program, remove map", async () => {
  const world = freshWorld();
  const { journal } = await realise(world, onePlan(mapA), emptyJournal);
  const edited = onePlan({ ...mapA, contents: { kind: "sealed", digest: "2", entries: packEntries([]) } });
  const actions = diffPlan(edited, await observePlan(new FakeKernel(world), edited), journal);
  assert.deepEqual(actions.map(renderAction), [
    "create map maps/a",
    "load program p/a",
    "replace xdp/eth0: p/a",
    "remove program p/a",
    "remove map maps/a",
  ]);
  assert.deepEqual(actions.map(isRemoval), [false, false, false, true, true]);
});

test("planGenerations holds what equal members are on many hooks once, and what others are apart", () => {
  const pointOf = (name: string, direction: "ingress" | "egress"): HookPoint => ({
    hook: "tc",
    interface: name,
    direction,
  });
  const attachments = ["eth0", "eth1"].flatMap((name) => [
    { point: pointOf(name, "ingress"), member: { program: programA.key, priority: 0, proceedOn: [-1] } },
    { point: pointOf(name, "egress"), member: { program: "p/b", priority: 0, proceedOn: [-1] } },
  ]);
  const programs = [programA, { ...programA, key: "p/b" }];
  const plan = assemblePlan([{ maps: [mapA], programs, attachments, instances: [], problems: [] }]);
  const { hooks } = planGenerations(plan);
  const [in0, in1, out0, out1] = (["ingress", "egress"] as const).flatMap((direction) =>
    ["eth0", "eth1"].map((name) => hooks.get(renderHookKey(pointOf(name, direction)))),
  );
  assert.ok(in0 && in1 && out0 && out1);
  assert.deepEqual([in0.members === in1.members, out0.members === out1.members], [true, true]);
  assert.deepEqual([in0.isChain, in0.members[0]?.spec.key, out0.members[0]?.spec.key], [false, "p/a", "p/b"]);
  assert.notDeepEqual(in0.generation, out0.generation);
  assert.notEqual(in0.key, in1.key);
});

test("diffPlan attaches by stubs first and inlines last, and not again after a refusal", async () => {
  const world = freshWorld();
  const plan = onePlan(mapA, [programA, { ...programA, key: "p/b" }]);
  const port = new FakeKernel(world);
  const observed = await observePlan(port, plan);
  const actions = diffPlan(plan, observed, emptyJournal);
  assert.deepEqual(actions.map(renderAction).slice(-2), ["attach xdp/eth0: p/a, p/b", "inline xdp/eth0: p/a, p/b"]);
  const inline = planGenerations(plan).hooks.get("xdp/eth0")?.generation.inline ?? "";
  assert.deepEqual(
    diffPlan(plan, observed, { ...emptyJournal, refusedInline: [inline] })
      .map(renderAction)
      .slice(-1),
    ["attach xdp/eth0: p/a, p/b"],
  );
  const oneMode = (mode: "inline" | "stub") =>
    diffPlan(plan, observed, emptyJournal, { inline: mode === "inline", stub: mode === "stub" }).filter((action) =>
      action.do.endsWith("hook"),
    );
  for (const mode of ["inline", "stub"] as const) {
    const [only, ...others] = oneMode(mode);
    assert.equal(others.length, 0);
    assert.deepEqual(only?.do === "set-hook" && only.members.map((member) => member.mode), [mode, mode]);
  }
});

test("diffPlan inlines at once what would be more stubs than a packet may go through", async () => {
  const hookActions = async (members: number): Promise<readonly string[]> => {
    const programs = Array.from({ length: members }, (_, at) => ({ ...programA, key: `p/${at}` }));
    const plan = onePlan(mapA, programs);
    const actions = diffPlan(plan, await observePlan(new FakeKernel(freshWorld()), plan), emptyJournal);
    return actions.flatMap((action) =>
      action.do === "set-hook" || action.do === "inline-hook" ? [`${action.do} ${action.members[0]?.mode}`] : [],
    );
  };
  assert.deepEqual(await hookActions(33), ["set-hook stub", "inline-hook inline"]);
  assert.deepEqual(await hookActions(34), ["set-hook inline"]);
});

test("diffPlan loads again what runs over a map that was unpinned, and attaches it", async () => {
  const world = freshWorld();
  const plan = onePlan(mapA);
  const { journal } = await realise(world, plan, emptyJournal);
  world.maps.clear();
  const actions = diffPlan(plan, await observePlan(new FakeKernel(world), plan), journal);
  assert.deepEqual(actions.map(renderAction), ["create map maps/a", "reload program p/a", "replace xdp/eth0: p/a"]);
});

test("diffPlan of the empty plan removes everything of ours", async () => {
  const world = freshWorld();
  const { journal } = await realise(world, onePlan({ ...mapA, pinPath: "/run/bpfd/fs/user/a" }), emptyJournal);
  await realise(world, emptyPlan, journal);
  assert.deepEqual(await new FakeKernel(world).observe(), { maps: [], programs: [], hooks: [] });
  assert.deepEqual([...world.pathPins.keys()], ["/run/bpfd/fs/user/theirs"]);
});

test("renderHookKey names every hook of a plan once", () => {
  const plan = onePlan(mapA);
  assert.deepEqual(
    plan.hooks.map((hook) => hook.key),
    [renderHookKey({ hook: "xdp", interface: "eth0" })],
  );
});
