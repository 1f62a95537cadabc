import { refKey } from "@bpfleet/base";
import type { AcceptedObject } from "./compile.ts";
import type { ObjectFate } from "./object-fate.ts";
import type { ObjectRecord } from "./records.ts";
import type { ObjectReport } from "./report.ts";

interface Made {
  readonly accepted: AcceptedObject;
  readonly counters: ObjectFate["counters"];
  readonly previous: ObjectRecord | undefined;
  readonly report: ObjectReport;
}

/** Reports as they were made last: a node of many policies would make the same of thousands of items every few seconds. */
export class ReportMemory {
  #world: readonly unknown[] = [];
  readonly #made = new Map<string, Made>();

  /** `world`: what all reports are made of. Where any of it is another, none of before is known any more. */
  enter(world: readonly unknown[]): void {
    if (world.length === this.#world.length && world.every((each, at) => each === this.#world[at])) return;
    this.#world = world;
    this.#made.clear();
  }

  find(
    accepted: AcceptedObject,
    counters: ObjectFate["counters"],
    previous: ObjectRecord | undefined,
  ): ObjectReport | undefined {
    const made = this.#made.get(refKey(accepted.parsed.ref));
    if (made?.accepted !== accepted) return undefined;
    const isSame = made.counters.length === counters.length && made.counters.every((each, at) => each === counters[at]);
    return isSame && (previous === made.previous || isRecordOf(previous, made.report)) ? made.report : undefined;
  }

  keep(made: Made): void {
    this.#made.set(refKey(made.report.ref), made);
  }

  /** Others are forgotten. */
  keepOnly(keys: ReadonlySet<string>): void {
    for (const key of this.#made.keys()) if (!keys.has(key)) this.#made.delete(key);
  }
}

/** What was told once is what it is compared with from then on. */
function isRecordOf(record: ObjectRecord | undefined, { object, events }: ObjectReport): boolean {
  return record !== undefined && record.status === object.status && record.events === events;
}
