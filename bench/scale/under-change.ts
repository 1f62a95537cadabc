import { setTimeout as sleep } from "node:timers/promises";
import { answer, type BenchContext, type BenchResult } from "../result.ts";
import type { Collection, Declared } from "./declared.ts";
import type { SimulatedFleet } from "./fleet.ts";
import { versionOf } from "./lines.ts";

export interface UnderChange {
  /** What names of results begin with. */
  readonly name: string;
  readonly collection: Collection;
  readonly edit: (number: number) => Declared;
  /** When the status spoke of a version on all nodes, since the epoch. */
  readonly told: (version: string) => Promise<number>;
  /** Of one edit that nothing followed. */
  readonly toldAloneMs: number;
}

/** Faster than a fleet can tell of them. */
const editEveryMs = 2000;
const windowMs = 5000;
/** What all nodes together are to write; docs/guides/cluster.md says so. */
const reportsPerSecond = 200;

/** One object is edited again and again: what is written meanwhile, and how long after the last edit its status is told. */
export async function measureUnderChange(
  { isQuick, progress }: BenchContext,
  fleet: SimulatedFleet,
  { name, collection, edit, told, toldAloneMs }: UnderChange,
): Promise<readonly BenchResult[]> {
  const forMs = isQuick ? 20_000 : 60_000;
  const samples: { readonly atMs: number; readonly writes: number }[] = [];
  const sample = async (): Promise<void> => {
    // Whoever is busy answers late: the moment is that of the answer.
    const writes = await fleet.writes();
    samples.push({ atMs: performance.now(), writes });
  };
  const isOver = new AbortController();
  const sampling = (async () => {
    for (; !isOver.signal.aborted; await sleep(windowMs, undefined, { signal: isOver.signal }).catch(() => undefined))
      await sample();
    await sample();
  })();
  let version = "";
  let [edits, lastAt, toldMs, whileEdited] = [0, 0, 0, 0];
  try {
    const end = performance.now() + forMs;
    do {
      lastAt = Date.now();
      const object = edit(edits++);
      const { metadata } = await fleet.client.apply(collection, object, { fieldManager: "bench", isForced: true });
      version = versionOf(metadata);
      await sleep(editEveryMs);
    } while (performance.now() < end);
    await sample();
    whileEdited = rateBetween(samples[0], samples.at(-1));
    toldMs = (await told(version)) - lastAt;
  } finally {
    isOver.abort();
    await sampling;
  }
  const peak = samples.slice(1).reduce((most, each, at) => Math.max(most, rateBetween(samples[at], each)), 0);
  progress(`${edits} edits, one each ${editEveryMs / 1000} s: ${whileEdited.toFixed(0)} writes a second`);
  const allowed = "what the reports of a whole fleet may be";
  // Statuses and the edits themselves are written too.
  const target = `<= ${reportsPerSecond + 20} 1/s`;
  return [
    answer(`${name}.writes-per-second-under-change`, "1/s", whileEdited, allowed, reportsPerSecond, target),
    answer(`${name}.writes-per-second-peak`, "1/s", peak, allowed, reportsPerSecond, target),
    answer(`${name}.status-after-many-edits-s`, "s", toldMs / 1000, "one edit alone", toldAloneMs / 1000),
  ];
}

type Sample = { readonly atMs: number; readonly writes: number } | undefined;

/** Windows that are too short to say anything count as none. */
function rateBetween(from: Sample, to: Sample): number {
  if (from === undefined || to === undefined || to.atMs - from.atMs < windowMs / 2) return 0;
  return ((to.writes - from.writes) * 1000) / (to.atMs - from.atMs);
}
