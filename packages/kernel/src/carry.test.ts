import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { applyActions } from "./apply.ts";
import { assemblePlan } from "./assemble.ts";
import { diffPlan } from "./diff.ts";
import { observePlan } from "./observe-plan.ts";
import { packEntries } from "./entries.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { FakeWorld } from "./fake-world.ts";
import { mapIdentity, renderIdentity } from "./identity.ts";
import { emptyJournal } from "./journal.ts";
import type { MapSpec, NodePlan, ProgramSpec } from "./specs.ts";

/** A rule list as a feature plans it: rule ids, in the order of their indices from 1. */
function planOf(rules: readonly number[]): NodePlan {
  // As long as two of the rules more would need; what is not used has no rule.
  const maxEntries = rules.length + 3;
  const digest = rules.join();
  const hits: MapSpec = {
    key: "f/hits",
    name: "hits",
    carries: "rule-hits",
    definition: { type: "percpu_array", keySize: 4, valueSize: 16, maxEntries, flags: 0 },
    contents: { kind: "sealed", digest, entries: packEntries([]) },
  };
  const base: MapSpec = {
    key: "f/base",
    name: "base",
    carries: "rule-base",
    definition: { type: "array", keySize: 4, valueSize: 24, maxEntries, flags: 0 },
    contents: { kind: "sealed", digest, entries: packEntries(rules.map((id, at) => [index(at + 1), words(id, 0, 0)])) },
  };
  const program: ProgramSpec = {
    key: "f/xdp",
    name: "xdp",
    type: "xdp",
    object: { name: "o", digest: "1" },
    entry: "main",
    globals: {},
    maps: { hits: "f/hits" },
  };
  const attachments = [
    { point: { hook: "xdp", interface: "eth0" } as const, member: { program: "f/xdp", priority: 0, proceedOn: [2] } },
  ];
  return assemblePlan([{ maps: [hits, base], programs: [program], attachments, instances: [], problems: [] }]);
}

function index(at: number): string {
  return Buffer.from(Uint32Array.of(at).buffer).toString("hex");
}

function words(...numbers: number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(numbers.map(BigInt)).buffer);
}

/** The attached program counts a packet of 100 bytes for a rule, on one of two CPUs. */
function count(world: FakeWorld, ruleIndex: number, cpu: number): void {
  const hook = world.hooks.get("xdp/eth0");
  const program = [...world.programs.values()].find(({ id }) => id === hook?.members[0]);
  const map = [...world.maps.values()].find(({ id }) => id === program?.mapIds[0]);
  const value = map?.entries.get(index(ruleIndex));
  assert.ok(value !== undefined);
  const view = new DataView(value.buffer, value.byteOffset + cpu * 16, 16);
  view.setBigUint64(0, view.getBigUint64(0, true) + 1n, true);
  view.setBigUint64(8, view.getBigUint64(8, true) + 100n, true);
}

/** Rule id → packets, as a reader of the plan's pair sees them; 0 is "no rule". */
function totals(world: FakeWorld, rules: readonly number[]): Map<number, number> {
  const [hits, base] = [entriesOf(world, rules, "f/hits"), entriesOf(world, rules, "f/base")];
  const found = new Map<number, number>();
  for (const [at, id] of [0, ...rules].entries()) {
    const hit = new BigUint64Array((hits.get(index(at)) as Uint8Array).slice().buffer);
    const carried = new BigUint64Array((base.get(index(at)) as Uint8Array).slice().buffer);
    const packets = (hit[0] ?? 0n) + (hit[2] ?? 0n) + (carried[1] ?? 0n);
    const bytes = (hit[1] ?? 0n) + (hit[3] ?? 0n) + (carried[2] ?? 0n);
    assert.equal(bytes, packets * 100n);
    found.set(id, Number(packets));
  }
  return found;
}

function entriesOf(world: FakeWorld, rules: readonly number[], key: string): ReadonlyMap<string, Uint8Array> {
  const spec = planOf(rules).maps.find((map) => map.key === key) as MapSpec;
  const map = world.maps.get(renderIdentity(mapIdentity(spec)));
  assert.ok(map !== undefined);
  return map.entries;
}

async function realise(world: FakeWorld, rules: readonly number[], stopAfter?: number): Promise<number> {
  const port = new FakeKernel(world);
  const plan = planOf(rules);
  const observed = await observePlan(port, plan);
  const actions = diffPlan(plan, observed, emptyJournal);
  await applyActions(actions, port, { plan, observed, stopAfter });
  return actions.length;
}

const ruleList = fc.uniqueArray(fc.integer({ min: 10, max: 15 }), { maxLength: 4 });
const traffic = fc.array(fc.record({ rule: fc.nat({ max: 4 }), cpu: fc.nat({ max: 1 }) }), { maxLength: 5 });

test("carryCounters keeps the counts of every rule that stays, through edits stopped anywhere", async () => {
  const edits = fc.array(
    fc.record({ rules: ruleList, traffic, stops: fc.array(fc.nat({ max: 8 }), { maxLength: 3 }) }),
    { maxLength: 4 },
  );
  await fc.assert(
    fc.asyncProperty(edits, async (history) => {
      const world = new FakeWorld();
      world.addInterface("eth0");
      let expected = new Map<number, number>([[0, 0]]);
      for (const { rules, traffic, stops } of history) {
        for (const stop of stops) await realise(world, rules, stop);
        await realise(world, rules);
        assert.equal(await realise(world, rules), 0);
        expected = new Map([0, ...rules].map((id) => [id, expected.get(id) ?? 0]));
        assert.deepEqual(totals(world, rules), expected);
        for (const { rule, cpu } of traffic) {
          const at = rule % (rules.length + 1);
          count(world, at, cpu);
          const id = [0, ...rules][at] as number;
          expected.set(id, (expected.get(id) ?? 0) + 1);
        }
        assert.deepEqual(totals(world, rules), expected);
      }
      assert.ok(world.maps.size <= 2, "the old pairs are gone");
    }),
    { numRuns: 200 },
  );
});

test("carryCounters counts nothing twice when an edit is taken back half-way", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: 8 }), fc.nat({ max: 8 }), async (firstStop, secondStop) => {
      const world = new FakeWorld();
      world.addInterface("eth0");
      await realise(world, [10, 11]);
      for (let packets = 0; packets < 5; packets++) count(world, 1, 0);
      await realise(world, [10, 12], firstStop);
      for (let packets = 0; packets < 3; packets++) count(world, 1, 1);
      await realise(world, [10, 11], secondStop);
      await realise(world, [10, 11]);
      assert.equal(totals(world, [10, 11]).get(10), 8);
    }),
  );
});
