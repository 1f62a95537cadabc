/** The programs of the policy feature in the kernel, for tests: a table in force, nothing attached. */
import { readFileSync } from "node:fs";
import { BpfMap, BpfObject, type BpfProgram } from "@bpfleet/native";
import {
  counterSize,
  decodeExplained,
  eventsMap,
  explainedSize,
  lostEventsMap,
  traceMap,
  type Explained,
} from "../../generated/shared.ts";
import { decodeFlow, policyLayout, policyMaps, policyReason, type Flow } from "../generated/policy.ts";
import type { PolicyTable } from "../table/policy-table.ts";
import type { ServiceTable } from "../services/service-table.ts";
import { writeServices } from "../services/write-services.ts";
import { writeTable } from "../table/write-table.ts";
import type { NameEntries } from "./learnt-names.ts";

/** As it was built. */
export const policyObject = new URL("../../../../../build/bpf/policy.bpf.o", import.meta.url);
const zero = Buffer.alloc(4);
const inner = 0x1000; // BPF_F_INNER_MAP

export type Direction = "ingress" | "egress";

export interface PolicyRun {
  readonly verdict: "pass" | "drop";
  readonly reason: string;
  readonly rule: number;
}

const reasons = new Map<number, string>(Object.entries(policyReason).map(([name, number]) => [number, name]));

export function reasonOf(number: number): string {
  return number > policyReason.fault ? `fault_${number - policyReason.fault}` : (reasons.get(number) ?? `${number}`);
}

export class LoadedPolicy implements AsyncDisposable {
  readonly #maps: Record<string, BpfMap>;
  readonly #inner: BpfMap[] = [];
  /** Of `putOver`. */
  readonly #room: Partial<Record<"table" | "services", BpfMap>> = {};
  #taught: readonly Uint8Array[] = [];
  readonly #objects: BpfObject[];
  readonly programs: Readonly<Record<Direction, BpfProgram>>;
  readonly twins: Readonly<Record<Direction, BpfProgram>>;
  readonly #explained: BpfMap;
  readonly verifiedInstructions: Readonly<Record<Direction, number>>;

  private constructor(
    maps: Record<string, BpfMap>,
    objects: BpfObject[],
    programs: Record<Direction, BpfProgram>,
    twins: Record<Direction, BpfProgram>,
  ) {
    this.#maps = maps;
    this.#objects = objects;
    this.programs = programs;
    this.twins = twins;
    this.#explained = maps["explained"] as BpfMap;
    this.verifiedInstructions = {
      ingress: programs.ingress.info.verifiedInstructions,
      egress: programs.egress.info.verifiedInstructions,
    };
  }

  /** Without twins nothing is explained, and half is verified. `of`: what judges pods, or the node itself. */
  static async load(
    flowCount = 4096,
    globals: Globals = {},
    hasTwins = true,
    nameCount = 1024,
    of: "policy" | "host" = "policy",
  ): Promise<LoadedPolicy> {
    using lineTemplate = linesOf(new Uint8Array(policyLayout.line_bytes));
    using hitTemplate = hitsOf(1);
    const create = (name: keyof typeof policyMaps, maxEntries: number): BpfMap =>
      BpfMap.create({ ...policyMaps[name], name, maxEntries });
    const maps: Record<string, BpfMap> = {
      table: BpfMap.create({ ...policyMaps.table, name: "table", innerMap: lineTemplate }),
      counters: BpfMap.create({ ...policyMaps.counters, name: "counters", innerMap: hitTemplate }),
      flows4: create("flows4", flowCount),
      flows6: create("flows6", flowCount),
      fragments: create("fragments", 256),
      services: BpfMap.create({ ...policyMaps.services, name: "services", innerMap: lineTemplate }),
      translations: create("translations", flowCount),
      affinities: create("affinities", 64),
      accounts: create("accounts", 64),
      connection_rates: create("connection_rates", 64),
      graces: create("graces", 64),
      known_names: create("known_names", nameCount),
      learnt: create("learnt", nameCount),
      questions: create("questions", nameCount),
      name_events: create("name_events", policyMaps.name_events.maxEntries),
      rates: create("rates", 64),
      bandwidths: create("bandwidths", 64),
      bandwidth_uses: create("bandwidth_uses", 64),
      connections: create("connections", 1024),
      connection_counts: create("connection_counts", 64),
      connections_aged: create("connections_aged", 64),
      log_buckets: create("log_buckets", 64),
      trials: create("trials", 64),
      trial_totals: create("trial_totals", 1),
      events: BpfMap.create({ ...eventsMap, name: "events" }),
      trace: BpfMap.create({ ...traceMap, name: "trace" }),
      lost_events: BpfMap.create({ ...lostEventsMap, name: "lost_events" }),
      reasons: BpfMap.create({
        type: "percpu_array",
        name: "reasons",
        keySize: 4,
        valueSize: counterSize,
        maxEntries: 64,
      }),
      explained: BpfMap.create({
        type: "array",
        name: "explained",
        keySize: 4,
        valueSize: explainedSize,
        maxEntries: 1,
      }),
    };
    const objects: BpfObject[] = [];
    const open = async (dryRun: boolean): Promise<Record<Direction, BpfProgram>> => {
      const opened = BpfObject.open(readFileSync(policyObject), {
        name: "policy",
        reuseMaps: maps,
        autoload: [`${of}_ingress`, `${of}_egress`],
      });
      opened.setGlobals({ ...globals, dry_run: dryRun });
      await opened.prepare();
      await opened.load();
      objects.push(opened);
      return { ingress: opened.program(`${of}_ingress`), egress: opened.program(`${of}_egress`) };
    };
    const programs = await open(false);
    return new LoadedPolicy(maps, objects, programs, hasTwins ? await open(true) : programs);
  }

  /** Puts a table in force, as `change` makes it, with counters of its own in its slot. */
  async put(table: PolicyTable, change: (lines: Uint8Array) => Uint8Array = (lines) => lines): Promise<void> {
    const lines = change(writeTable(table).lines);
    const rules = Math.max(0, ...table.tables.flatMap((each) => each.rules.map(({ rule }) => rule)));
    const map = linesOf(lines);
    const hits = hitsOf(rules + 1);
    this.#inner.push(map, hits);
    await fill(map, lines);
    this.#refer("counters", table.counterSlot, hits);
    this.#refer("table", 0, map);
  }

  /** Of programs that translate: see `globals` of `load`. */
  async putServices(table: ServiceTable): Promise<void> {
    const { lines } = writeServices(table);
    const map = linesOf(lines);
    this.#inner.push(map);
    await fill(map, lines);
    this.#refer("services", 0, map);
  }

  /**
   * Writes a table over the one before, so that nothing waits for the kernel as where one is replaced; for those who put
   * many and run nothing meanwhile.
   */
  async putOver(table: PolicyTable, services?: ServiceTable): Promise<void> {
    if (this.#room.table === undefined) {
      const hits = hitsOf(4096);
      this.#inner.push(hits);
      this.#refer("counters", 0, hits);
    }
    await this.#writeOver("table", writeTable({ ...table, counterSlot: 0 }).lines);
    if (services !== undefined) await this.#writeOver("services", writeServices(services).lines);
  }

  async #writeOver(outer: "table" | "services", lines: Uint8Array): Promise<void> {
    const before = this.#room[outer];
    if (before !== undefined && before.info.maxEntries >= lines.length / policyLayout.line_bytes)
      return fill(before, lines);
    const map = linesOf(new Uint8Array(2 * lines.length));
    this.#inner.push(map);
    this.#room[outer] = map;
    await fill(map, lines);
    this.#refer(outer, 0, map);
  }

  /** In place of what was taught before. */
  teach({ known, learnt }: NameEntries): void {
    const map = this.map("learnt");
    for (const key of this.#taught) map.deleteRaw(key);
    this.#taught = learnt.map(([key]) => key);
    for (const [key, value] of known) this.map("known_names").setRaw(key, value);
    for (const [key, value] of learnt) map.setRaw(key, value);
  }

  #refer(outer: "table" | "counters" | "services", slot: number, map: BpfMap): void {
    this.map(outer).setRaw(u32(slot), u32(map.fd));
  }

  /** By its name in the object. */
  map(name: string): BpfMap {
    const map = this.#maps[name];
    if (!map) throw new Error(`find map ${name}: it is not there`);
    return map;
  }

  /** By the real program; what it decided by the dry twin before it. */
  async run(direction: Direction, packet: Uint8Array): Promise<PolicyRun> {
    const explained = await this.explain(direction, packet);
    const { retval } = await this.programs[direction].testRun({ data: packet });
    const verdict = (retval | 0) === -1 ? "pass" : "drop";
    if (verdict !== explained.verdict) {
      throw new Error(`run ${direction}: ${verdict}, but its dry twin says ${explained.verdict} (${explained.reason})`);
    }
    return explained;
  }

  async explain(direction: Direction, packet: Uint8Array): Promise<PolicyRun> {
    await this.twins[direction].testRun({ data: packet });
    const { verdict, reason, rule } = this.explained();
    return { verdict: verdict === 0 ? "pass" : "drop", reason: reasonOf(reason), rule };
  }

  explained(): Explained {
    const scratch = this.#explained.getRaw(zero);
    if (!scratch) throw new Error("read explained: it is empty");
    return decodeExplained(new DataView(scratch.buffer, scratch.byteOffset, scratch.length));
  }

  /** Packets that a rule of the table in the slot counted. */
  packetsOfRule(slot: number, rule: number): number {
    const map = this.#inner.findLast(({ info }) => info.id === this.#slot(slot));
    const value = map?.getRaw(u32(rule));
    let packets = 0;
    if (!value) return 0;
    for (let at = 0; at < value.length; at += counterSize) packets += Number(value.readBigUInt64LE(at));
    return packets;
  }

  /** By its name in the program. */
  packetsOfReason(name: keyof typeof policyReason): number {
    const value = this.map("reasons").getRaw(u32(policyReason[name]));
    let packets = 0;
    if (!value) return 0;
    for (let at = 0; at < value.length; at += counterSize) packets += Number(value.readBigUInt64LE(at));
    return packets;
  }

  #slot(slot: number): number {
    return this.map("counters").getRaw(u32(slot))?.readUInt32LE() ?? 0;
  }

  async flows(family: 4 | 6): Promise<Flow[]> {
    const { count, values } = await this.map(family === 4 ? "flows4" : "flows6").readBatch();
    const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
    return Array.from({ length: count }, (_, at) => decodeFlow(view, (at * values.byteLength) / count));
  }

  /** Packets by reason. */
  async reasons(): Promise<ReadonlyMap<string, number>> {
    const { count, values } = await this.map("reasons").readBatch();
    const packets = (at: number): number => {
      const own = values.subarray((at * values.length) / count, ((at + 1) * values.length) / count);
      let sum = 0;
      for (let cpu = 0; cpu < own.length; cpu += counterSize) sum += Number(own.readBigUInt64LE(cpu));
      return sum;
    };
    return new Map(Array.from({ length: count }, (_, at) => [reasonOf(at), packets(at)]));
  }

  /** All that live packets may change, to see that nothing does. */
  async contents(): Promise<string> {
    const names = ["flows4", "flows6", "fragments", "reasons"];
    const all = await Promise.all(
      names.map(async (name) => {
        const { keys, values } = await this.map(name).readBatch();
        return `${name} ${Buffer.from(keys).toString("hex")} ${Buffer.from(values).toString("hex")}`;
      }),
    );
    return all.join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const programs of new Set([this.programs, this.twins]))
      for (const each of Object.values(programs)) each.close();
    for (const each of this.#objects) await each.close();
    for (const each of [...this.#inner, ...Object.values(this.#maps)]) each.close();
  }
}

/** Verdict and reason of each, in turn. */
export async function reasonsOf(
  policy: LoadedPolicy,
  packets: readonly (readonly [Direction, Buffer])[],
): Promise<string[]> {
  const reasons: string[] = [];
  for (const [direction, bytes] of packets) {
    const { verdict, reason } = await policy.run(direction, bytes);
    reasons.push(`${verdict} ${reason}`);
  }
  return reasons;
}

type Globals = Readonly<Record<string, number | bigint | boolean>>;

const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);

function linesOf(lines: Uint8Array): BpfMap {
  const valueSize = policyLayout.line_bytes;
  const maxEntries = lines.length / valueSize;
  return BpfMap.create({ type: "array", name: "lines", keySize: 4, valueSize, maxEntries, flags: inner });
}

function hitsOf(maxEntries: number): BpfMap {
  return BpfMap.create({ type: "percpu_array", name: "hits", keySize: 4, valueSize: counterSize, maxEntries });
}

async function fill(map: BpfMap, lines: Uint8Array): Promise<void> {
  const count = lines.length / policyLayout.line_bytes;
  const keys = Uint32Array.from({ length: count }, (_, at) => at);
  await map.updateBatch(Buffer.from(keys.buffer), lines, count);
}
