import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KernelError } from "@bpfleet/base";
import { applyActions, type Applied } from "./apply.ts";
import { assemblePlan } from "./assemble.ts";
import { diffPlan } from "./diff.ts";
import { observePlan } from "./observe-plan.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { FakeWorld } from "./fake-world.ts";
import { emptyJournal } from "./journal.ts";
import type { NodePlan, ProgramSpec } from "./specs.ts";

interface Wish {
  readonly key: string;
  readonly version: string;
}

const program = ({ key, version }: Wish): ProgramSpec => ({
  key,
  name: "p",
  type: "xdp",
  object: { name: "o", digest: version },
  entry: "main",
  globals: {},
  maps: { m: `${key}/map` },
});

/** All on one hook, in this order; each with a map whose generation changes with the program's. */
function shared(...wishes: readonly Wish[]): NodePlan {
  return assemblePlan([
    {
      maps: wishes.map(({ key, version }) => ({
        key: `${key}/map`,
        name: "m",
        definition: { type: "hash", keySize: 4, valueSize: 4, maxEntries: 2, flags: 0 },
        contents: { kind: "live" },
        layout: version,
      })),
      programs: wishes.map(program),
      attachments: wishes.map(({ key }, priority) => ({
        point: { hook: "xdp", interface: "eth0" } as const,
        member: { program: key, priority, proceedOn: [2] },
      })),
      instances: [],
      problems: [],
    },
  ]);
}

function newWorld(): FakeWorld {
  const world = new FakeWorld();
  world.addInterface("eth0");
  return world;
}

/** A kernel whose verifier refuses these. */
class Refusing extends FakeKernel {
  readonly refused: (wish: Wish) => boolean;

  constructor(world: FakeWorld, refused: (wish: Wish) => boolean) {
    super(world);
    this.refused = refused;
  }

  override async loadProgram(...args: Parameters<FakeKernel["loadProgram"]>): Promise<void> {
    const [{ key, object }] = args;
    if (this.refused({ key, version: object.digest }))
      throw new KernelError(`load program ${key}: the verifier refused it`, {
        code: "verifier",
        call: "BPF_PROG_LOAD",
        retry: "never",
      });
    return super.loadProgram(...args);
  }
}

const bad = ({ version }: Wish): boolean => version === "bad";

async function apply(world: FakeWorld, plan: NodePlan, refused = bad, stopAfter?: number): Promise<Applied> {
  const port = new Refusing(world, refused);
  const observed = await observePlan(port, plan);
  return applyActions(diffPlan(plan, observed, emptyJournal), port, { plan, observed, stopAfter });
}

/** What runs on the hook, `key:version` each. */
function running(world: FakeWorld): readonly string[] {
  const ids = world.hooks.get("xdp/eth0")?.members ?? [];
  return ids.map((id) => {
    const found = [...world.programs.values()].find((each) => each.id === id);
    return found === undefined ? "?" : `${found.spec.key}:${found.spec.object.digest}`;
  });
}

function stateOf(applied: Applied, name: string): string | undefined {
  return applied.results.find(({ item, key }) => `${item} ${key}` === name)?.state;
}

const v = (key: string, version: string): Wish => ({ key, version });

test("applyActions runs the other programs of a hook when one cannot be loaded", async () => {
  const world = newWorld();
  const applied = await apply(world, shared(v("a", "1"), v("b", "bad"), v("c", "1")));
  assert.deepEqual(running(world), ["a:1", "c:1"]);
  assert.equal(stateOf(applied, "program b"), "failed");
  assert.equal(stateOf(applied, "hook xdp/eth0"), "in-force");
});

test("applyActions names the programs of a hook whose earlier generation runs on", async () => {
  const world = newWorld();
  const earlierOf = ({ results }: Applied) => results.find(({ item }) => item === "hook")?.earlier;
  assert.equal(earlierOf(await apply(world, shared(v("a", "1"), v("b", "1")))), undefined);
  assert.deepEqual(earlierOf(await apply(world, shared(v("a", "2"), v("b", "bad"), v("c", "bad")))), ["b"]);
  assert.deepEqual(earlierOf(await apply(world, shared(v("a", "2"), v("b", "bad"), v("c", "bad")))), ["b"]);
  assert.equal(earlierOf(await apply(world, shared(v("a", "2"), v("b", "2")))), undefined);
});

test("applyActions changes the neighbours of a program whose change cannot be loaded, and that one stays as it was", async () => {
  const world = newWorld();
  await apply(world, shared(v("a", "1"), v("b", "1")));
  const maps = world.maps.size;
  const applied = await apply(world, shared(v("a", "2"), v("b", "bad"), v("c", "1")));
  assert.deepEqual(running(world), ["a:2", "b:1", "c:1"]);
  assert.equal(stateOf(applied, "program b"), "failed");
  assert.equal(stateOf(applied, "hook xdp/eth0"), "in-force");
  assert.ok([...world.maps.values()].some(({ identity }) => identity.key === "b/map"));
  assert.equal(maps, 2);
});

test("applyActions leaves a hook alone that runs already what can run", async () => {
  const world = newWorld();
  const plan = shared(v("a", "1"), v("b", "bad"));
  await apply(world, plan);
  const before = world.hooks.get("xdp/eth0");
  const again = await apply(world, plan);
  assert.equal(world.hooks.get("xdp/eth0"), before);
  assert.deepEqual(
    again.outcomes.filter(({ state, isIdle }) => state === "done" && isIdle !== true),
    [],
  );
});

test("applyActions takes a program in when it can be loaded at last", async () => {
  const world = newWorld();
  const plan = shared(v("a", "1"), v("b", "bad"));
  await apply(world, plan);
  assert.ok((await apply(world, plan, () => false)).isComplete);
  assert.deepEqual(running(world), ["a:1", "b:bad"]);
});

test("applyActions says that a hook waits whose only program runs on as it was", async () => {
  const world = newWorld();
  await apply(world, shared(v("a", "1")));
  const applied = await apply(world, shared(v("a", "bad")));
  assert.deepEqual(running(world), ["a:1"]);
  assert.equal(stateOf(applied, "hook xdp/eth0"), "withheld");
});

test("applyActions lets a program go that nobody wants, though its neighbour cannot be loaded", async () => {
  const world = newWorld();
  await apply(world, shared(v("a", "1")));
  await apply(world, shared(v("b", "bad")));
  assert.deepEqual(running(world), []);
  assert.equal(world.programs.size, 0);
});

test("applyActions does not touch a hook of which it cannot tell what runs there", async () => {
  const world = newWorld();
  await apply(world, shared(v("a", "1"), v("b", "1")));
  const before = world.hooks.get("xdp/eth0");
  for (const name of world.programs.keys()) if (name.startsWith("b@")) world.programs.delete(name);
  const applied = await apply(world, shared(v("a", "2"), v("b", "bad")));
  assert.equal(world.hooks.get("xdp/eth0"), before);
  assert.equal(stateOf(applied, "hook xdp/eth0"), "withheld");
});

test("applyActions comes to the same end from wherever it was stopped, with programs that cannot be loaded", async () => {
  const wish = fc.record({ key: fc.constantFrom("a", "b", "c"), version: fc.constantFrom("1", "2", "bad") });
  const wishes = fc.uniqueArray(wish, { maxLength: 3, selector: ({ key }) => key });
  await fc.assert(
    fc.asyncProperty(wishes, wishes, fc.nat({ max: 16 }), async (first, last, stopAfter) => {
      const ends = await Promise.all(
        [stopAfter, undefined].map(async (stop) => {
          const world = newWorld();
          await apply(world, shared(...first));
          const plan = shared(...last);
          if (stop !== undefined) await apply(world, plan, bad, stop);
          await apply(world, plan);
          const again = await apply(world, plan);
          assert.ok(again.outcomes.every(({ state, isIdle }) => state !== "done" || isIdle === true));
          return running(world);
        }),
      );
      const earlier = new Map(first.filter((each) => !bad(each)).map(({ key, version }) => [key, version]));
      const expected = last.flatMap((each) => {
        const version = bad(each) ? earlier.get(each.key) : each.version;
        return version === undefined ? [] : [`${each.key}:${version}`];
      });
      assert.deepEqual(ends, [expected, expected]);
    }),
  );
});

test("applyActions pins a map for one of its users when another cannot be loaded, and not when none can", async () => {
  const pinPath = "/run/bpfd/fs/maps/u/m";
  const plan = (...wishes: readonly Wish[]): NodePlan => {
    const own = shared(...wishes);
    const maps = own.maps.map((map) => (map.key === "a/map" ? { ...map, layout: "1", pinPath } : map));
    return { ...own, maps, programs: own.programs.map((each) => ({ ...each, maps: { m: "a/map" } })) };
  };
  const world = newWorld();
  await apply(world, plan(v("a", "bad"), v("b", "bad")));
  assert.equal(world.userPins.has(pinPath), false);
  const applied = await apply(world, plan(v("a", "1"), v("b", "bad")));
  assert.equal(stateOf(applied, "map a/map"), "in-force");
  assert.equal(stateOf(applied, "program b"), "failed");
  assert.ok(world.userPins.has(pinPath));
});
