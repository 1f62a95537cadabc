import { DirectoryStore, fetchReport, Records, type NodeReport, type ObjectReport } from "@bpfleet/agent";
import { errorText, KernelError, refKey, renderTime } from "@bpfleet/base";
import { findKind, type KubeObject } from "@bpfleet/kinds";
import type { Config } from "../config.ts";
import { Failure } from "../failure.ts";
import type { World } from "../world.ts";

/**
 * Every object of this node with what became of it: from the agent, which counts at that moment, else from what it
 * wrote down last, with a warning.
 */
export async function loadNode(config: Config, world: World): Promise<NodeReport> {
  try {
    return await fetchReport(config.agentSocket);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    const report = await readNode(config, world);
    world.err.write(`warning: ${error.message}; shown is what is stored, with the status of the last run\n`);
    return report;
  }
}

/** The same from the files alone. */
export async function readNode(config: Config, world: Pick<World, "clock">): Promise<NodeReport> {
  const records = new Records(config.state);
  await records.load();
  const store = openStore(config, world, records);
  try {
    await store.refresh();
  } catch (cause) {
    throw new Failure(`read the objects in ${config.store}: ${errnoOf(cause)}; run as root, or give --store`, {
      cause,
    });
  }
  const { objects, broken } = store.snapshot();
  const written = objects.map(({ ref, object }) => reportOf(ref, admitted(object), records));
  return {
    takenAt: renderTime(world.clock.now()),
    isPaused: false,
    objects: [...written, ...madeOf(written, records)],
    broken,
  };
}

/** What the agent made of these objects. */
function madeOf(written: readonly ObjectReport[], records: Records): readonly ObjectReport[] {
  const owners = new Set(written.map(({ ref }) => refKey(ref)));
  return records.all().flatMap(({ ref, made, status, state, messages, events }) => {
    if (made === undefined || !owners.has(refKey(made.from))) return [];
    return [{ ref, object: { ...made.object, status }, state, messages, events, madeFrom: made.from }];
  });
}

/** With defaults and without unknown fields, as an API server would show it. */
function admitted(object: KubeObject): KubeObject {
  const result = findKind(object.apiVersion, object.kind)?.parse(object);
  return result?.ok === true ? result.value.object : object;
}

function reportOf(ref: ObjectReport["ref"], object: ObjectReport["object"], records: Records): ObjectReport {
  const record = records.find(ref);
  if (record === undefined || record.uid !== object.metadata.uid)
    return { ref, object, state: "pending", messages: [], events: [] };
  const { status, state, messages, events } = record;
  return { ref, object: { ...object, status }, state, messages, events };
}

export function openStore(config: Config, world: Pick<World, "clock">, records?: Records): DirectoryStore {
  return new DirectoryStore({ directory: config.store, clock: world.clock, findHeader: (ref) => records?.find(ref) });
}

export function errnoOf(error: unknown): string {
  if (error instanceof Error && "code" in error) return String(error.code);
  return errorText(error);
}
