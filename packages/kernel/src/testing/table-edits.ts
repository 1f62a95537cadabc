import { KernelError, renderHex } from "@bpfleet/base";
import { renderAction } from "../action.ts";
import { applyActions, type Applied } from "../apply.ts";
import { assemblePlan } from "../assemble.ts";
import { diffPlan } from "../diff.ts";
import { observePlan } from "../observe-plan.ts";
import { noEntries, packEntries, slotsOf } from "../entries.ts";
import { FakeKernel } from "../fake-kernel.ts";
import { FakeWorld } from "../fake-world.ts";
import { mapIdentity, renderIdentity } from "../identity.ts";
import { emptyJournal } from "../journal.ts";
import { mapFlags, type MapDefinition, type MapSpec, type NodePlan, type ProgramSpec } from "../specs.ts";

/** What the edits of a table are tried with that programs find through a map of maps. */
export const inner: MapDefinition = {
  type: "array",
  keySize: 4,
  valueSize: 64,
  maxEntries: 1,
  flags: mapFlags.innerMap,
};

const hitsOf: MapDefinition = { type: "percpu_array", keySize: 4, valueSize: 16, maxEntries: 4, flags: 0 };

const baseOf: MapDefinition = { type: "array", keySize: 4, valueSize: 24, maxEntries: 4, flags: 0 };

export interface Wish {
  /** What the table says; other texts, other lines. */
  readonly table: string;
  readonly rules: readonly number[];
  readonly slot: number;
  readonly interfaces?: readonly string[];
}

/** A table whose lines name the slot of their counters: both are found through maps of maps. */
export function planOf({ table, rules, slot, interfaces = ["eth0"] }: Wish): NodePlan {
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

export function indexKey(at: number): string {
  return renderHex(new Uint8Array(Uint32Array.of(at).buffer));
}

function words(...numbers: number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(numbers.map(BigInt)).buffer);
}

export interface Run extends Applied {
  readonly actions: readonly string[];
}

export async function apply(
  world: FakeWorld,
  plan: NodePlan,
  stopAfter?: number,
  port = new FakeKernel(world),
): Promise<Run> {
  const observed = await observePlan(port, plan);
  const actions = diffPlan(plan, observed, emptyJournal);
  const applied = await applyActions(actions, port, { plan, observed, stopAfter });
  return { ...applied, actions: actions.map(renderAction) };
}

/** `table[0]` → what it refers to. */
export function slots(world: FakeWorld): Record<string, string> {
  const names = new Map([...world.maps.values()].map(({ id, identity }) => [id, renderIdentity(identity)]));
  return Object.fromEntries(
    [...world.maps.values()]
      .filter((map) => map.inner !== undefined)
      .flatMap(({ identity, entries }) =>
        [...slotsOf(packEntries(entries))].map(([slot, id]) => [`${identity.key}[${slot}]`, names.get(id) ?? "gone"]),
      ),
  );
}

export function worldOf(...interfaces: string[]): FakeWorld {
  const world = new FakeWorld();
  for (const name of interfaces) world.addInterface(name);
  return world;
}

export function nameOf(plan: NodePlan, key: string): string {
  const spec = plan.maps.find((map) => map.key === key);
  if (spec === undefined) throw new RangeError(`the plan has no map ${key}`);
  return renderIdentity(mapIdentity(spec));
}

export const first: Wish = { table: "a", rules: [1, 2], slot: 0 };

export const second: Wish = { table: "bb", rules: [2, 3], slot: 1 };

export function failing(world: FakeWorld, method: string, key: string): void {
  const error = new KernelError(`${method} ${key}: no memory (ENOMEM)`, { code: "busy", call: "x", retry: "backoff" });
  world.intercept = (call) => (call.method === method && call.key === key ? error : undefined);
}

/** The programs do less, and the table that they go by is put first. */
export function lessOf(wish: Wish): NodePlan {
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
export function withOther(plan: NodePlan, knob: number): NodePlan {
  const [judge] = plan.programs;
  if (judge === undefined) throw new RangeError("the plan has no program");
  const other: ProgramSpec = { ...judge, key: "o/count", name: "count", globals: { knob }, maps: {} };
  const spec = { key: "xdp/eth9", point: { hook: "xdp", interface: "eth9" }, members: [memberOf(other.key)] } as const;
  return { ...plan, programs: [...plan.programs, other], hooks: [...plan.hooks, spec] };
}

function memberOf(program: string): NodePlan["hooks"][number]["members"][number] {
  return { program, priority: 0, proceedOn: [2] };
}
