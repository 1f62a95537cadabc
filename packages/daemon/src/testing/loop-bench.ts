import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import {
  emptyJournal,
  emptyPlan,
  FakeKernel,
  renderHookKey,
  type FakeWorld,
  type HookPoint,
  type HookSpec,
  type Journal,
  type MapSpec,
  type NodePlan,
  type ProgramSpec,
} from "@bpfleet/kernel";
import { pino } from "pino";
import type { DaemonResults } from "../daemon.ts";
import type { Remembered } from "../state/node-state.ts";
import { WorkLoop, type LoopOptions } from "../loop/work-loop.ts";

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

const modes = () => ({ inline: true, stub: true, legacyTc: false });

/** What a daemon keeps on disk, in memory: outlives the loops that use it. */
export class Memory {
  plan: NodePlan | undefined;
  journal: Journal = emptyJournal;
  isPaused = false;
  async savePlan(plan: NodePlan) {
    this.plan = plan;
    return { durable: Promise.resolve() };
  }
  isPassedOver = false;
  passOver() {
    this.isPassedOver = true;
  }
  /** A disk that takes nothing. */
  full(): Memory {
    const refuse = async () => Promise.reject(new Error("write plan: no space left on device (ENOSPC)"));
    return Object.assign(this, { savePlan: refuse, saveJournal: refuse });
  }
  async saveJournal(journal: Journal) {
    this.journal = journal;
  }
  async savePaused(isPaused: boolean) {
    this.isPaused = isPaused;
  }
  remembered(): Remembered {
    return { plan: this.plan, journal: this.journal, isPaused: this.isPaused, hashSeed: 1, unusable: [] };
  }
}

export function startLoop(
  t: TestContext,
  world: FakeWorld,
  memory = new Memory(),
  more: Partial<LoopOptions> = {},
): WorkLoop {
  const loop = new WorkLoop({
    kernel: new FakeKernel(world),
    state: memory,
    remembered: memory.remembered(),
    modes,
    clock,
    log: pino({ level: "silent" }),
    driftMs: 20,
    backoff: { firstMs: 5, longestMs: 40 },
    ...more,
  });
  loop.start();
  t.after(() => loop.stop());
  return loop;
}

export const map = (key: string, contents: MapSpec["contents"] = { kind: "live" }): MapSpec => ({
  key,
  name: "m",
  definition: { type: "hash", keySize: 1, valueSize: 1, maxEntries: 8, flags: 0 },
  contents,
});

export const program = (key: string, maps: readonly string[], globals: ProgramSpec["globals"] = {}): ProgramSpec => ({
  key,
  name: "p",
  type: "xdp",
  object: { name: "o", digest: "d" },
  entry: "e",
  globals,
  maps: Object.fromEntries(maps.map((name) => [name, name])),
});

export function hook(point: HookPoint, ...programs: string[]): HookSpec {
  return {
    key: renderHookKey(point),
    point,
    members: programs.map((name, priority) => ({ program: name, priority, proceedOn: [2] })),
  };
}

export const xdp = (name: string): HookPoint => ({ hook: "xdp", interface: name });

export const filterOn = (...names: string[]): NodePlan => ({
  ...emptyPlan,
  maps: [map("m")],
  programs: [program("p", ["m"])],
  hooks: names.map((name) => hook(xdp(name), "p")),
});

export async function until(loop: WorkLoop, holds: (results: DaemonResults) => boolean): Promise<DaemonResults> {
  if (holds(loop.results())) return loop.results();
  const { promise, resolve } = Promise.withResolvers<DaemonResults>();
  const end = loop.onChange((results) => holds(results) && resolve(results));
  const timer = setTimeout(() => resolve(loop.results()), 5000);
  const results = await promise;
  clearTimeout(timer);
  end();
  assert.ok(holds(results), JSON.stringify(results, undefined, 1));
  return results;
}

export const stateOf = (results: DaemonResults, key: string) => results.items.find((item) => item.key === key)?.state;
