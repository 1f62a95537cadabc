import { WorkQueue, isApiError } from "@bpfleet/kube";
import { systemTiming } from "../timing.ts";
import type { Timing } from "../timing.ts";
import type { Controller, ControllerOptions } from "./controller.ts";

/** Call `start` to begin; keys may be added before. */
export function createController(options: ControllerOptions): Controller {
  return new QueueController(options);
}

class QueueController implements Controller {
  readonly name: string;
  readonly #options: ControllerOptions;
  readonly #timing: Timing;
  readonly #queue: WorkQueue;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #isStarted = false;
  #timer: { readonly dueMs: number; readonly cancel: AbortController } | undefined;
  #idle = Promise.withResolvers<void>();

  constructor(options: ControllerOptions) {
    this.name = options.name;
    this.#options = options;
    this.#timing = options.timing ?? systemTiming;
    this.#queue = new WorkQueue(options.queue);
  }

  get waiting(): number {
    return this.#queue.ready;
  }

  get working(): number {
    return this.#queue.working;
  }

  get delayed(): number {
    return this.#queue.delayed;
  }

  add(key: string): void {
    this.#queue.add(key);
    this.#pump();
  }

  addAfter(key: string, afterMs: number): void {
    this.#queue.addAt(key, this.#timing.monotonicMs() + afterMs);
    this.#pump();
  }

  start(): this {
    this.#isStarted = true;
    this.#pump();
    return this;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#timer?.cancel.abort();
    this.#queue.clear();
    await Promise.all(this.#running);
    this.#queue.clear();
    this.#idle.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async idle(): Promise<void> {
    while (!this.#queue.isIdle && !this.#stop.signal.aborted) await this.#idle.promise;
  }

  #pump(): void {
    if (!this.#isStarted || this.#stop.signal.aborted) return;
    const workers = this.#options.workers ?? 1;
    while (this.#queue.working < workers) {
      const key = this.#queue.take(this.#timing.monotonicMs());
      if (key === undefined) break;
      const work = this.#work(key).finally(() => this.#running.delete(work));
      this.#running.add(work);
    }
    this.#wakeAt(this.#queue.nextDueMs());
    if (!this.#queue.isIdle) return;
    this.#idle.resolve();
    this.#idle = Promise.withResolvers();
  }

  async #work(key: string): Promise<void> {
    const { signal } = this.#stop;
    try {
      // A turn later, so that who adds a key is never run by its own call.
      await Promise.resolve();
      const outcome = await this.#options.reconcile(key, signal);
      this.#queue.forget(key);
      if (outcome.next === "recheck") this.#queue.addAt(key, this.#timing.monotonicMs() + outcome.afterMs);
    } catch (error) {
      if (!signal.aborted) this.#failed(key, error);
    }
    this.#queue.done(key);
    this.#pump();
  }

  #failed(key: string, error: unknown): void {
    const atLeastMs = isApiError(error) ? (error.retryAfterMs ?? 0) : 0;
    const retryAfterMs = this.#queue.retry(key, this.#timing.monotonicMs(), atLeastMs);
    this.#options.onFailure?.({ key, error, count: this.#queue.failuresOf(key), retryAfterMs });
  }

  #wakeAt(dueMs: number): void {
    if (this.#timer?.dueMs === dueMs) return;
    this.#timer?.cancel.abort();
    this.#timer = undefined;
    if (dueMs === Infinity) return;
    const cancel = new AbortController();
    const timer = { dueMs, cancel };
    this.#timer = timer;
    // Timers of Node hold 24 days at most.
    const waitMs = Math.min(Math.max(0, dueMs - this.#timing.monotonicMs()), 2_000_000_000);
    void this.#timing.sleep(Math.ceil(waitMs), cancel.signal).then(() => {
      if (cancel.signal.aborted) return;
      if (this.#timer === timer) this.#timer = undefined;
      this.#pump();
    });
  }
}
