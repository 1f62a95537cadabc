/** Small plans over testdata/contract.bpf.c, and the daemon's way of making them true. */
import {
  applyActions,
  assemblePlan,
  diffPlan,
  emptyJournal,
  mapIdentity,
  observePlan,
  packEntries,
  renderAction,
  type HookPoint,
  type MapSpec,
  type NodePlan,
  type ObservedKernel,
  type ProgramSpec,
} from "@bpfleet/kernel";
import type { NodeKernel } from "../node-kernel.ts";
import type { NodeHarness } from "./kernel-harness.ts";

export const PASS = 2;
export const counts: MapSpec = {
  key: "test/counts",
  name: "counts",
  definition: { type: "array", keySize: 4, valueSize: 8, maxEntries: 4, flags: 0 },
  contents: { kind: "live" },
};

export function listOf(digest: string): MapSpec {
  return {
    key: "test/list",
    name: "list",
    definition: { type: "hash", keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 },
    contents: {
      kind: "sealed",
      digest,
      entries: packEntries([["01000000", Buffer.from(digest.padEnd(4).slice(0, 4))]]),
    },
  };
}

export interface Wish {
  readonly digest?: string;
  readonly programs?: readonly string[];
  readonly points?: readonly HookPoint[];
  readonly globals?: ProgramSpec["globals"];
  readonly pinPath?: string;
}

export function planOf(kernel: NodeHarness, wish: Wish): NodePlan {
  const {
    digest = "1",
    programs = ["a"],
    points = [{ hook: "xdp", interface: "v0" }],
    globals = { verdict: PASS },
    pinPath,
  } = wish;
  const specs = programs.map((name): ProgramSpec => ({
    key: `test/${name}`,
    name,
    type: "xdp",
    object: kernel.object,
    entry: "count_xdp",
    globals,
    maps: { counts: "test/counts", list: "test/list" },
  }));
  const attachments = points.flatMap((point) =>
    specs.map(({ key }, priority) => ({ point, member: { program: key, priority, proceedOn: [PASS] } })),
  );
  return assemblePlan([
    { maps: [{ ...counts, pinPath }, listOf(digest)], programs: specs, attachments, instances: [], problems: [] },
  ]);
}

export interface Outcome {
  readonly actions: readonly string[];
  readonly failed: readonly string[];
}

export async function apply(
  port: NodeKernel,
  plan: NodePlan,
  stopAfter?: number,
  modes = { inline: true, stub: true },
): Promise<Outcome> {
  const observed = await observePlan(port, plan);
  const actions = diffPlan(plan, observed, emptyJournal, modes);
  const { outcomes } = await applyActions(actions, port, { plan, observed, stopAfter });
  return {
    actions: actions.map(renderAction),
    failed: outcomes.flatMap(({ state, error }) => (state === "done" ? [] : [error?.message ?? ""])),
  };
}

export async function counted(port: NodeKernel): Promise<number> {
  const entries = await port.readMap(mapIdentity(counts));
  return Number(Buffer.from(entries?.values ?? []).readBigUInt64LE(0));
}

/** Without ids. */
export function shape({ maps, programs, hooks }: ObservedKernel): unknown {
  return {
    maps: maps.map(({ key, generation, pinPaths }) => [key, generation, pinPaths]).toSorted(byText),
    programs: programs.map(({ key, generation }) => [key, generation]).toSorted(byText),
    hooks: hooks
      .map(({ key, generation, isAttached, members, result }) => [key, generation, isAttached, members.length, result])
      .toSorted(byText),
  };
}

function byText(a: readonly unknown[], b: readonly unknown[]): number {
  return String(a) < String(b) ? -1 : 1;
}
