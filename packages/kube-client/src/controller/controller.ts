import type { Outcome, WorkQueueOptions } from "@bpfleet/kube";
import type { Timing } from "../timing.ts";

export interface ControllerOptions {
  readonly name: string;
  /** Keys worked on at the same time; never one key twice. 1 where not given. */
  readonly workers?: number | undefined;
  /**
   * Makes true what the key's object wishes. Level-triggered: it reads what is, not what happened. What it throws is
   * tried again with growing gaps; an `ApiError` with `retryAfterMs` not sooner than that.
   */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<Outcome>;
  readonly onFailure?: ((failure: ReconcileFailure) => void) | undefined;
  readonly queue?: Partial<WorkQueueOptions> | undefined;
  readonly timing?: Timing | undefined;
}

export interface ReconcileFailure {
  readonly key: string;
  readonly error: unknown;
  /** Failures of this key in a row. */
  readonly count: number;
  readonly retryAfterMs: number;
}

/** Works through keys: each once however often it is added while it waits, and again if added while it is worked on. */
export interface Controller extends AsyncDisposable {
  readonly name: string;
  /** Keys that wait to be worked on now. */
  readonly waiting: number;
  readonly working: number;
  /** Keys that are due later. */
  readonly delayed: number;
  add(key: string): void;
  addAfter(key: string, afterMs: number): void;
  start(): this;
  /** Waits for what is being worked on, whose signal is set; what waits is dropped. */
  stop(): Promise<void>;
  /** Ends when nothing waits and nothing is worked on; keys that are due later do not count. */
  idle(): Promise<void>;
}
