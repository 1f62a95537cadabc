import { refKey, renderRef, renderTime, type ObjectRef } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import { emptyPlan, type ItemResult, type NodePlan, type PlanProblem } from "@bpfleet/kernel";
import type { Kind, KubeObject } from "@bpfleet/kinds";
import type { AgentParts } from "./agent-options.ts";
import type { AcceptedObject } from "./compile.ts";
import type { DesiredObjects } from "./desired-objects.ts";
import { nextEvents } from "./events.ts";
import { leavingReports } from "./leaving.ts";
import { identifyMade, recordOfSame } from "./made-object.ts";
import { bugText } from "./guarded.ts";
import { Fates, messagesOf, refusedStatus, standingOf, stateOf, type ObjectFate } from "./object-fate.ts";
import { recordOfReport, type ObjectRecord, type ObjectRecords } from "./records.ts";
import { ReportMemory } from "./report-memory.ts";
import type { ObjectReport } from "./report.ts";

/** What was planned last, and what it counted. */
export interface Planned {
  readonly plan: NodePlan;
  readonly problems: readonly PlanProblem[];
  readonly counters: readonly InstanceCounters[];
}

export interface ReportMakerParts {
  readonly options: AgentParts;
  readonly desired: DesiredObjects;
  readonly records: ObjectRecords;
  /** Objects that cannot be read and were served before. */
  readonly heldRefs: () => readonly ObjectRef[];
  readonly tell: (notice: string) => void;
}

/** Makes of the daemon's results what became of each object. */
export class ReportMaker {
  readonly #parts: ReportMakerParts;
  readonly #passReasons: readonly string[];
  /** What was said last of objects that are made: their versions go on from there, stored or not. */
  readonly #said = new Map<string, ObjectRecord>();
  readonly #memory = new ReportMemory();
  #planned: Planned = { plan: emptyPlan, problems: [], counters: [] };

  constructor(parts: ReportMakerParts) {
    this.#parts = parts;
    this.#passReasons = parts.options.features.flatMap((feature) => feature.passReasons);
  }

  /**
   * Of every object that is declared, made of one, or still in the kernel; of sound ones only where it is asked `of`:
   * those are remembered, and the same again until what they are made of is another.
   */
  make(planned: Planned, of?: (ref: ObjectRef) => boolean): readonly ObjectReport[] {
    const { daemon } = this.#parts.options;
    const results = daemon.results();
    const { interfaces, nodeName } = daemon.facts();
    const isCurrent = results.isSettled && results.trouble === undefined;
    this.#memory.enter([
      planned.plan,
      planned.problems,
      results.items,
      isCurrent,
      results.isPaused,
      interfaces,
      nodeName,
    ]);
    const fates = new Fates(planned.plan, planned.problems, results.items, planned.counters);
    this.#planned = planned;
    const spoilt = new Set(this.#parts.desired.spoilt().map(({ good }) => good));
    const reports = this.#parts.desired.sound().flatMap((accepted) => {
      const { ref, object } = accepted.parsed;
      if (of?.(ref) === false) return [];
      const previous = this.#parts.records.find(ref);
      const isSpoilt = spoilt.has(accepted);
      const counters = fates.countersOf(ref);
      const same = isSpoilt ? undefined : this.#memory.find(accepted, counters, previous);
      if (same !== undefined) return [same];
      const fate = fates.of(ref);
      const told = this.#status(accepted, fate, previous);
      const state = isSpoilt ? "failed" : stateOf(fate, isCurrent, results.isPaused);
      const report = this.#reportOf(ref, object, told.status, state, fate, previous);
      const made = this.#made(accepted, report, fate);
      if (of !== undefined && !told.isRefused && !isSpoilt && made.length === 0)
        this.#memory.keep({ accepted, counters, previous, report });
      return [report, ...made];
    });
    const refused = this.#parts.desired.refused().map(({ stored }) => {
      const fate = fates.of(stored.ref);
      return this.#reportOf(
        stored.ref,
        stored.object,
        this.#refused(fate),
        "failed",
        fate,
        this.#parts.records.find(stored.ref),
      );
    });
    const all = [...this.#leaving(results.leftovers ?? []), ...refused, ...reports];
    return [...new Map(all.map((report) => [refKey(report.ref), report])).values()];
  }

  /** Nobody declares them any more, and the kernel still has them. */
  #leaving(leftovers: readonly ItemResult[]): readonly ObjectReport[] {
    const held = [...this.#parts.desired.sound().map(({ parsed }) => parsed.ref), ...this.#parts.heldRefs()];
    const declared = new Set(held.map(refKey));
    const nothing = { problems: [], items: [], counters: [] };
    return leavingReports(
      { records: this.#parts.records, kinds: this.#parts.options.kinds, clock: this.#parts.options.clock },
      { isDeclared: (ref) => declared.has(refKey(ref)), leftovers, outcome: this.#outcome(nothing, undefined) },
    );
  }

  /** The objects that a kind makes of one. */
  #made({ kind, parsed }: AcceptedObject, own: ObjectReport, fate: ObjectFate): readonly ObjectReport[] {
    const now = renderTime(this.#parts.options.clock.now());
    const recordOf = (ref: ObjectRef) => recordOfSame(this.#parts.records.find(ref), parsed.object);
    try {
      return kind
        .generate(parsed, (ref) => this.#outcome(fate, recordOf(ref)))
        .map((object) => {
          const ref = { ...parsed.ref, kind: object.kind, name: object.metadata.name };
          const previous = recordOf(ref);
          const said = recordOfSame(this.#said.get(refKey(ref)), parsed.object) ?? previous;
          const whole = identifyMade(object, ref, said, now);
          const { state, messages } = own;
          const events = nextEvents(previous?.events ?? [], previous?.status, whole.status, now);
          const report: ObjectReport = { ref, object: whole, state, messages, events, madeFrom: parsed.ref };
          this.#said.set(refKey(ref), recordOfReport(report, ""));
          return report;
        });
    } catch (error) {
      this.#parts.tell(bugText(`tell what ${renderRef(parsed.ref)} became`, error));
      return [];
    }
  }

  #outcome(fate: ObjectFate, previous: ObjectRecord | undefined): Parameters<Kind["status"]>[1] {
    const { daemon, clock } = this.#parts.options;
    const facts = daemon.facts();
    const gauge = (name: string): number | undefined => {
      const found = fate.counters.map(({ gauges }) => gauges[name]).find((value) => value !== undefined);
      return found === undefined ? undefined : Number(found);
    };
    return {
      nodeName: facts.nodeName,
      problems: fate.problems,
      items: fate.items,
      plan: this.#planned.plan,
      counters: fate.counters,
      passReasons: this.#passReasons,
      interfaces: facts.interfaces,
      isPaused: daemon.results().isPaused,
      entryCount: gauge("map_entries"),
      memoryBytes: gauge("map_memory_bytes"),
      previousStatus: previous?.status,
      clock,
    };
  }

  #refused(fate: ObjectFate): unknown {
    return refusedStatus(fate, this.#parts.options.clock);
  }

  /** Refused where its kind cannot tell it. */
  #status(
    { kind, parsed }: AcceptedObject,
    fate: ObjectFate,
    previous: ObjectRecord | undefined,
  ): { readonly status: unknown; readonly isRefused: boolean } {
    try {
      return { status: kind.status(parsed, this.#outcome(fate, previous)), isRefused: false };
    } catch (error) {
      this.#parts.tell(bugText(`tell the status of ${renderRef(parsed.ref)}`, error));
      return { status: this.#refused(fate), isRefused: true };
    }
  }

  /** What was said of objects that are not among these is forgotten. */
  keepOnly(reports: readonly ObjectReport[]): void {
    const there = new Set(reports.map(({ ref }) => refKey(ref)));
    for (const key of this.#said.keys()) if (!there.has(key)) this.#said.delete(key);
    this.#memory.keepOnly(there);
  }

  #reportOf(
    ref: ObjectRef,
    object: KubeObject,
    status: unknown,
    state: ObjectReport["state"],
    fate: ObjectFate,
    previous: ObjectRecord | undefined,
  ): ObjectReport {
    const now = renderTime(this.#parts.options.clock.now());
    const events = nextEvents(previous?.events ?? [], previous?.status, status, now);
    const standing = standingOf(fate);
    const report = { ref, object: { ...object, status }, state, messages: messagesOf(fate, state), events };
    return standing === undefined ? report : { ...report, standing };
  }
}
