import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  assemblePlan,
  mapFlags,
  mapIdentity,
  noEntries,
  planGenerations,
  type HookPoint,
  type MapDefinition,
  type MapEntries,
  type MapSpec,
  type NodePlan,
} from "@bpfleet/kernel";
import { BpfProgram } from "./binding.ts";
import { NodeKernel } from "./node-kernel.ts";
import { KernelSandbox } from "./testing/kernel-sandbox.ts";
import { apply } from "./testing/kernel-plan.ts";

const lineSize = 64;
const isTable: MapDefinition = {
  type: "array",
  keySize: 4,
  valueSize: lineSize,
  maxEntries: 1,
  flags: mapFlags.innerMap | mapFlags.mmapable,
};
const isHits: MapDefinition = { type: "percpu_array", keySize: 4, valueSize: 16, maxEntries: 4, flags: 0 };
const isBase: MapDefinition = { type: "array", keySize: 4, valueSize: 24, maxEntries: 4, flags: 0 };
const of = (type: MapDefinition["type"], maxEntries: number): MapDefinition => ({
  type,
  keySize: 4,
  valueSize: 4,
  maxEntries,
  flags: 0,
});

interface Table {
  readonly number: number;
  readonly lines: number;
  readonly slot: number;
  /** Ids of the rules from index 1. */
  readonly rules: readonly number[];
  /** Of the rule that counts. */
  readonly rule: number;
}

function linesOf({ number, lines, slot, rule }: Table): MapEntries {
  const keys = Uint32Array.from({ length: lines }, (_, at) => at);
  const values = new Uint32Array((lines * lineSize) / 4);
  for (let at = 0; at < values.length; at += lineSize / 4) values.set([number, lines, slot, rule], at);
  return { count: lines, keys: new Uint8Array(keys.buffer), values: new Uint8Array(values.buffer) };
}

function tableMap(table: Table, key = "t/lines"): MapSpec {
  return {
    key,
    name: "lines",
    definition: { ...isTable, maxEntries: table.lines },
    contents: { kind: "sealed", digest: JSON.stringify(table), entries: linesOf(table) },
  };
}

function referring(key: string, maxEntries: number, inner: MapDefinition, slot: number, map: string): MapSpec {
  const contents = { kind: "refers", inner, entries: [{ slot, map }] } as const;
  return { key, name: "outer", definition: of("array_of_maps", maxEntries), contents };
}

function countersOf(rules: readonly number[]): readonly [hits: MapSpec, base: MapSpec] {
  const base = new BigUint64Array(isBase.maxEntries * 3);
  for (const [at, id] of rules.entries()) base[(at + 1) * 3] = BigInt(id);
  const keys = Uint32Array.from({ length: isBase.maxEntries }, (_, at) => at);
  const entries = { count: keys.length, keys: new Uint8Array(keys.buffer), values: new Uint8Array(base.buffer) };
  const half = (key: string, definition: MapDefinition, filled: MapEntries) =>
    ({ key, name: "rules", definition, contents: { kind: "sealed", digest: rules.join(), entries: filled } }) as const;
  return [
    { ...half("t/rules/hits", isHits, noEntries), carries: "rule-hits" },
    { ...half("t/rules/base", isBase, entries), carries: "rule-base" },
  ];
}

const seen: MapSpec = {
  key: "t/seen",
  name: "seen",
  definition: { type: "percpu_array", keySize: 4, valueSize: 32, maxEntries: 1, flags: 0 },
  contents: { kind: "live" },
};

class Look implements AsyncDisposable {
  readonly #sandbox = new KernelSandbox();
  readonly #object: { readonly name: string; readonly digest: string };
  readonly port: NodeKernel;
  readonly netns: { readonly near: string; readonly far: string };

  private constructor(sandbox: KernelSandbox, port: NodeKernel, elf: Buffer, netns: Look["netns"]) {
    this.#sandbox = sandbox;
    this.port = port;
    this.#object = { name: "refers", digest: createHash("sha256").update(elf).digest("hex") };
    this.netns = netns;
  }

  static async open(): Promise<Look> {
    const sandbox = new KernelSandbox();
    const { near, far } = sandbox.pair();
    const elf = sandbox.compile("refers", "-mcpu=v3");
    const port = await NodeKernel.open({
      bpffsDir: await sandbox.bpffs(),
      netns: near.path,
      loadObject: async () => elf,
    });
    return new Look(sandbox, port, elf, { near: near.name, far: far.name });
  }

  planOf(table: Table): NodePlan {
    const maps: MapSpec[] = [
      referring("t/counters", 256, isHits, table.slot, "t/rules/hits"),
      referring("t/table", 1, isTable, 0, "t/lines"),
      tableMap(table),
      ...countersOf(table.rules),
      seen,
    ];
    const program = {
      key: "t/look",
      name: "look",
      type: "sched_cls",
      object: this.#object,
      entry: "look",
      globals: {},
      maps: { table: "t/table", counters: "t/counters", seen: "t/seen" },
    } as const;
    const point: HookPoint = { hook: "tc", interface: "v0", direction: "ingress" };
    const attachments = [{ point, member: { program: program.key, priority: 0, proceedOn: [-1] } }];
    return assemblePlan([{ maps, programs: [program], attachments, instances: [], problems: [] }]);
  }

  async seen(): Promise<{ packets: number; mixes: number; misses: number; tables: number }> {
    const words = new BigUint64Array(new Uint8Array((await this.port.readMap(mapIdentity(seen)))?.values ?? []).buffer);
    const total = { packets: 0, mixes: 0, misses: 0, tables: 0n };
    for (let at = 0; at < words.length; at += 4) {
      total.packets += Number(words[at]);
      total.mixes += Number(words[at + 1]);
      total.misses += Number(words[at + 2]);
      total.tables |= words[at + 3] ?? 0n;
    }
    return { ...total, tables: total.tables.toString(2).replaceAll("0", "").length };
  }

  /** Packets through the program that is loaded, from a thread, until the work is done. */
  async whileLooking(work: () => Promise<void>): Promise<void> {
    const [program] = (await this.port.observe()).programs;
    using looking = BpfProgram.fromId(program?.programId ?? 0);
    const done = new AbortController();
    const look = async (): Promise<void> => {
      while (!done.signal.aborted) await looking.testRun({ data: new Uint8Array(64), repeat: 20_000 });
    };
    const [, worked] = await Promise.allSettled([look(), work().finally(() => done.abort())]);
    if (worked.status === "rejected") throw worked.reason;
  }

  send(count: number): void {
    this.#sandbox.sendUdp(this.netns.far, "10.9.0.1", count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.port.removeEverything();
    await this.#sandbox[Symbol.asyncDispose]();
  }
}

const first: Table = { number: 0, lines: 16, slot: 7, rules: [10, 11], rule: 2 };

test("NodeKernel flips a table 1,000 times under a running program, which never sees a mix nor a miss", async () => {
  await using look = await Look.open();
  const { port } = look;
  const plan = look.planOf(first);
  assert.deepEqual((await apply(port, plan)).failed, []);
  const outer = plan.maps.find(({ key }) => key === "t/table");
  assert.ok(outer !== undefined);
  const tables = Array.from({ length: 20 }, (_, at): Table => ({ ...first, number: at + 1, lines: 1 + at * at * 5 }));
  const maps = tables.map((table) => tableMap(table, `t/lines${table.number}`));
  for (const map of maps) await port.createMap(map);
  let flips = 0;
  const flip = async (): Promise<void> => {
    while (flips < 1000) {
      const map = maps[flips++ % maps.length];
      assert.ok(map !== undefined);
      await port.putReference(outer, 0, mapIdentity(map));
    }
  };
  await look.whileLooking(async () => {
    // Every flip waits for the programs that look at the old table: some at a time.
    await Promise.all([flip(), flip(), flip()]);
  });
  const { packets, mixes, misses, tables: different } = await look.seen();
  assert.deepEqual([mixes, misses], [0, 0]);
  assert.ok(packets >= 20_000, `${packets} packets`);
  assert.ok(different > 5, `${different} tables were seen`);
});

test("NodeKernel edits a table under traffic by plans: no program is loaded, no count lost", async () => {
  await using look = await Look.open();
  const { port } = look;
  await apply(port, look.planOf(first));
  const programs = planGenerations(look.planOf(first)).programs;
  const { programs: before, hooks } = await port.observe();
  look.send(5);
  let last = first;
  await look.whileLooking(async () => {
    for (let edit = 1; edit <= 25; edit++) {
      // Rule 11 stays, at one index or the other.
      const rules = edit % 2 === 0 ? [10, 11] : [11, 12 + edit];
      last = { number: edit, lines: 1 + ((edit * 37) % 100), slot: edit % 256, rules, rule: rules.indexOf(11) + 1 };
      const { actions, failed } = await apply(port, look.planOf(last));
      assert.deepEqual(failed, []);
      assert.ok(!actions.some((action) => action.startsWith("load") || action.includes("tc-ingress")), actions.join());
    }
  });
  assert.deepEqual([...planGenerations(look.planOf(last)).programs], [...programs]);
  const after = await port.observe();
  assert.deepEqual([after.programs, after.hooks], [before, hooks]);
  assert.equal(after.maps.length, 6, "nothing of earlier tables is left");
  assert.deepEqual((await apply(port, look.planOf(last))).actions, []);
  const { packets, mixes, misses } = await look.seen();
  assert.deepEqual([mixes, misses], [0, 0]);
  assert.ok(packets > 0);
  assert.equal(
    await countOf(look.port, last, 11),
    packets,
    "every packet is counted for the rule that all tables have",
  );
});

/** What was counted for a rule in this table and in all before it. */
async function countOf(port: NodeKernel, { rules }: Table, rule: number): Promise<number> {
  const sum = async (spec: MapSpec, words: number, at: number): Promise<number> => {
    const entries = await port.readMap(mapIdentity(spec));
    const values = new BigUint64Array(new Uint8Array(entries?.values ?? []).buffer);
    const ofOne = values.length / (entries?.count ?? 1);
    const own = values.slice((rules.indexOf(rule) + 1) * ofOne, (rules.indexOf(rule) + 2) * ofOne);
    return Number(own.reduce((total, value, word) => (word % words === at ? total + value : total), 0n));
  };
  const [hits, base] = countersOf(rules);
  return (await sum(hits, 2, 0)) + (await sum(base, 3, 1));
}
