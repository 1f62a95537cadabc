import { refKey, type ObjectRef } from "@bpfleet/base";
import type { EventRecorder } from "@bpfleet/kube-client";
import type { ObjectReport } from "../report.ts";

/** Longest note that an API server takes. */
const longestNote = 1024;

/** Tells each event of an object once, as it is counted. */
export class EventTeller {
  readonly #recorder: Pick<EventRecorder, "record">;
  readonly #uidOfMade: (ref: ObjectRef) => string | undefined;
  #told = new Map<string, ReadonlySet<string>>();

  /** `uidOfMade`: that the server gave to an object of ours; reports do not know it. */
  constructor(recorder: Pick<EventRecorder, "record">, uidOfMade: (ref: ObjectRef) => string | undefined) {
    this.#recorder = recorder;
    this.#uidOfMade = uidOfMade;
  }

  tell(reports: readonly ObjectReport[]): void {
    const now = new Map<string, ReadonlySet<string>>();
    for (const report of reports) if (report.ref.group !== "") now.set(refKey(report.ref), this.#tellOf(report));
    this.#told = now;
  }

  #tellOf({ ref, object, events, madeFrom }: ObjectReport): ReadonlySet<string> {
    const before = this.#told.get(refKey(ref));
    const { apiVersion, kind, metadata } = object;
    const { name, namespace } = metadata;
    const said = new Set<string>();
    for (const { type, reason, message, count } of events) {
      const text = JSON.stringify([type, reason, message, count]);
      said.add(text);
      if (before?.has(text) === true) continue;
      const uid = madeFrom === undefined ? metadata.uid : this.#uidOfMade(ref);
      const regarding = { apiVersion, kind, name, namespace, uid };
      this.#recorder.record({ regarding, type, reason, action: "Apply", note: message.slice(0, longestNote) });
    }
    return said;
  }
}
