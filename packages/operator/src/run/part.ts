import type { AnyObject, Happening } from "@bpfleet/kube";
import type { ReconcileFailure } from "@bpfleet/kube-client";

/**
 * One of the operator's tasks. Every replica follows what the task needs, so that the next leader need not read the
 * cluster first; only the leader acts.
 */
export interface Part extends AsyncDisposable {
  readonly name: string;
  /** Acts until the signal is set; nothing is written after that. */
  lead(signal: AbortSignal): Promise<void>;
}

/** What parts tell; one place logs and counts. */
export interface Teller {
  /** Something was written. */
  wrote(verb: string, what: string, because?: string): void;
  failed(part: string, failure: Pick<ReconcileFailure, "key" | "error">): void;
  /** A list or watch does not go on; it is tried again. */
  fault(error: Error): void;
  /** An event of an object, for those who look at it. */
  happened(regarding: AnyObject, happening: Omit<Happening, "regarding">): void;
  /** What people should know, once for each text. */
  note(text: string): void;
}
