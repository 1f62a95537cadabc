import { renderTime, type Clock, type ObjectRef } from "@bpfleet/base";
import type { ItemResult } from "@bpfleet/kernel";
import type { Kind, KubeObject, Outcome, Parsed } from "@bpfleet/kinds";
import { nextEvents } from "./events.ts";
import type { ObjectRecord, ObjectRecords } from "./records.ts";
import type { ObjectReport } from "./report.ts";

export interface LeavingParts {
  readonly records: ObjectRecords;
  readonly kinds: readonly Kind[];
  readonly clock: Clock;
}

/** What is made of these is still in the kernel, though nobody declares it any more. */
export interface StillThere {
  readonly isDeclared: (ref: ObjectRef) => boolean;
  readonly leftovers: readonly ItemResult[];
  /** The least that a kind needs to know of the node. */
  readonly outcome: Outcome;
}

/**
 * Objects that were removed from the store and could not be removed from the kernel, with what was made of them: told as
 * an API server tells of an object whose finalizers are still there.
 */
export function leavingReports(parts: LeavingParts, there: StillThere): readonly ObjectReport[] {
  if (there.leftovers.length === 0) return [];
  return parts.records.all().flatMap((record) => {
    const { made } = record;
    if (made === undefined || there.isDeclared(made.from)) return [];
    const stuck = stuckItem(made.object, there.leftovers);
    if (stuck === undefined) return [];
    const message = stuck.error?.message ?? `remove ${stuck.item} ${stuck.key}: no reason is known`;
    return [ownerReport(parts, there, made, message), madeReport(parts, there, record, made, message)];
  });
}

/** By the ids that the keys of its programs and maps hold. */
function stuckItem({ spec }: KubeObject, leftovers: readonly ItemResult[]): ItemResult | undefined {
  const { programs = {} } = (spec ?? {}) as { readonly programs?: Readonly<Record<string, unknown>> };
  const own = leftovers.filter(({ key }) => Object.keys(programs).some((uuid) => key.includes(uuid)));
  return own.find(({ item }) => item === "program") ?? own[0];
}

type Made = NonNullable<ObjectRecord["made"]>;

function madeReport(
  { kinds, clock }: LeavingParts,
  { outcome }: StillThere,
  record: ObjectRecord,
  { from, object }: Made,
  message: string,
): ObjectReport {
  const { ref } = record;
  const now = renderTime(clock.now());
  const metadata = { ...object.metadata, deletionTimestamp: object.metadata.deletionTimestamp ?? now };
  const leaving = { ...object, metadata };
  const parsed: Parsed = { object: leaving, ref, positionOf: () => undefined };
  const problems = [{ origin: { object: ref, path: "" }, reason: "NotRemoved", message, severity: "refused" as const }];
  const kind = kinds.find((each) => each.group === ref.group && each.kind === ref.kind);
  const status = kind?.status(parsed, { ...outcome, problems, previousStatus: record.status });
  const events = nextEvents(record.events, record.status, status, now);
  return { ref, object: { ...leaving, status }, state: "failed", messages: [message], events, madeFrom: from };
}

/** The object itself is gone with its file: what its record knows of it is told. */
function ownerReport(
  { records, kinds, clock }: LeavingParts,
  { outcome }: StillThere,
  { from: ref, object: made }: Made,
  message: string,
): ObjectReport {
  const now = renderTime(clock.now());
  const record = records.find(ref);
  const object: KubeObject = {
    apiVersion: made.apiVersion,
    kind: ref.kind,
    metadata: {
      name: ref.name,
      ...(record !== undefined && {
        uid: record.uid,
        creationTimestamp: record.creationTimestamp,
        generation: record.generation,
        resourceVersion: record.resourceVersion,
      }),
      deletionTimestamp: made.metadata.deletionTimestamp ?? now,
    },
  };
  const kind = kinds.find((each) => each.group === ref.group && each.kind === ref.kind);
  const status = kind?.aggregate(object, {
    results: [
      {
        nodeName: outcome.nodeName,
        state: "Failed",
        conditions: [{ type: "Cause", status: "True", reason: "NotRemoved", message }],
        numbers: {},
      },
    ],
    silentNodes: [],
    remaining: [{ name: made.metadata.name, cannotUnload: true }],
    previousStatus: record?.status,
    clock,
  });
  const events = nextEvents(record?.events ?? [], record?.status, status, now);
  return { ref, object: { ...object, status }, state: "failed", messages: [message], events };
}
