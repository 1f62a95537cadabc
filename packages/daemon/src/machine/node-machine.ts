import { setTimeout as sleep } from "node:timers/promises";
import { isArrayLike, isKeyed, isMapOfMaps, type Inventory, type MapType, type NodeFacts } from "@bpfleet/kernel";
import { BpfError, BpfMap, RunStatistics } from "@bpfleet/native";
import type { DaemonResults } from "../daemon.ts";
import { findHolders } from "./fdinfo.ts";
import type {
  Machine,
  MapReading,
  MapUse,
  ReadMapRequest,
  Sample,
  Survey,
  SurveyOptions,
  WriteMapRequest,
} from "./machine.ts";
import { NodeMaps, useOf, type NodeMapsParts } from "./node-maps.ts";
import { findingsOf, ownersOf, placesOf } from "./survey-facts.ts";

/** Counting is a read of every key; beyond this a map is only said to have more. */
const mostCounted = 65_536;
const longestSampleMs = 10_000;

export interface NodeMachineParts extends NodeMapsParts {
  readonly facts: () => NodeFacts;
  readonly results: () => DaemonResults;
}

/** The running kernel behind `MachineService`. */
export class NodeMachine implements Machine {
  readonly #parts: NodeMachineParts;
  readonly #maps: NodeMaps;

  constructor(parts: NodeMachineParts) {
    this.#parts = parts;
    this.#maps = new NodeMaps(parts);
  }

  readMap(request: ReadMapRequest): Promise<MapReading> {
    return this.#maps.read(request);
  }

  writeMap(request: WriteMapRequest): Promise<void> {
    return this.#maps.write(request);
  }

  async survey({ sampleMs, withEntries }: SurveyOptions): Promise<Survey> {
    const { kernel, plan, facts, results } = this.#parts;
    const sample = sampleMs > 0 ? await this.#sample(Math.min(sampleMs, longestSampleMs)) : undefined;
    const [inventory, observed, processes] = await Promise.all([kernel.inventory(), kernel.observe(), findHolders()]);
    return {
      inventory,
      processes,
      maps: await readUses(inventory, withEntries),
      places: placesOf(observed),
      owners: ownersOf(plan(), facts(), observed),
      findings: findingsOf(plan(), observed, inventory, results()),
      ...(sample !== undefined && { sample }),
    };
  }

  /** Others may have statistics on as well: only what was added in the window counts. */
  async #sample(windowMs: number): Promise<Sample> {
    const before = performance.now();
    using statistics = RunStatistics.enable();
    const enabled = performance.now();
    const first = await this.#runs();
    const started = performance.now();
    await sleep(windowMs);
    const last = await this.#runs();
    const ended = performance.now();
    statistics.close();
    const runs = [...last].flatMap(([programId, { runs: count, timeNs }]) => {
      const earlier = first.get(programId);
      const added = { runs: count - (earlier?.runs ?? 0n), timeNs: timeNs - (earlier?.timeNs ?? 0n) };
      return added.runs > 0n ? [{ programId, ...added }] : [];
    });
    return { windowMs: ended - started, switchingMs: enabled - before + (performance.now() - ended), runs };
  }

  async #runs(): Promise<Map<number, { readonly runs: bigint; readonly timeNs: bigint }>> {
    const { programs } = await this.#parts.kernel.inventory();
    return new Map(programs.map(({ id, runCount, runTimeNs }) => [id, { runs: runCount, timeNs: runTimeNs }]));
  }
}

async function readUses({ maps }: Inventory, withEntries: boolean): Promise<MapUse[]> {
  const uses: MapUse[] = [];
  for (const { id, type, definition } of maps) {
    try {
      using map = BpfMap.fromId(id);
      const counted = withEntries ? await countEntries(map, type as MapType, definition.maxEntries) : undefined;
      uses.push({ mapId: id, isAtLeast: false, ...useOf(map), ...counted });
    } catch (error) {
      // It is gone, or the kernel does not let it be listed.
      if (!(error instanceof BpfError)) throw error;
    }
  }
  return uses;
}

async function countEntries(
  map: BpfMap,
  type: MapType,
  maxEntries: number,
): Promise<Pick<MapUse, "entries" | "isAtLeast"> | undefined> {
  if (isArrayLike(type)) return { entries: maxEntries, isAtLeast: false };
  if (!isKeyed(type) && !isMapOfMaps(type)) return undefined;
  const { count } = await map.readBatch({ max: mostCounted });
  return { entries: count, isAtLeast: count >= mostCounted && count < maxEntries };
}
