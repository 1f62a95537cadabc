import { DueHeap } from "./due-heap.ts";

export interface WorkQueueOptions {
  /** Wait after the first failure of a key; doubles with each further one. */
  readonly firstWaitMs: number;
  readonly longestWaitMs: number;
  /** Retries of all keys together; what exceeds them waits its turn. */
  readonly retriesPerSecond: number;
  readonly retryBurst: number;
}

const defaultWorkQueueOptions: WorkQueueOptions = {
  firstWaitMs: 5,
  longestWaitMs: 1_000_000,
  retriesPerSecond: 10,
  retryBurst: 100,
};

/**
 * Keys to be worked on. A key waits once however often it is added; added while it is worked on, it comes again when
 * that is done, so that one key is never worked on twice at a time. Times are of a monotonic clock.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #ready = new Set<string>();
  readonly #working = new Set<string>();
  readonly #again = new Set<string>();
  readonly #later = new DueHeap();
  readonly #failures = new Map<string, number>();
  /** When the bucket of retries would be full. */
  #fullAtMs = -Infinity;

  constructor(options: Partial<WorkQueueOptions> = {}) {
    this.#options = { ...defaultWorkQueueOptions, ...options };
  }

  /** Keys that can be taken now. */
  get ready(): number {
    return this.#ready.size;
  }

  get working(): number {
    return this.#working.size;
  }

  /** Keys that are due later. */
  get delayed(): number {
    return this.#later.size;
  }

  /** No key is ready, and none is worked on. */
  get isIdle(): boolean {
    return this.#ready.size === 0 && this.#working.size === 0;
  }

  add(key: string): void {
    if (this.#working.has(key)) this.#again.add(key);
    else this.#ready.add(key);
  }

  /** Of several times the earliest counts. */
  addAt(key: string, dueMs: number): void {
    this.#later.add(key, dueMs);
  }

  /** The key failed: it comes again after a wait, which is returned. */
  retry(key: string, nowMs: number, atLeastMs: number = 0): number {
    const failures = this.failuresOf(key);
    this.#failures.set(key, failures + 1);
    const { firstWaitMs, longestWaitMs } = this.#options;
    const own = Math.min(longestWaitMs, firstWaitMs * 2 ** Math.min(failures, 60));
    const waitMs = Math.max(own, atLeastMs, this.#bucketWaitMs(nowMs));
    this.addAt(key, nowMs + waitMs);
    return waitMs;
  }

  /** The key succeeded: its next failure is again the first. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  failuresOf(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The next key to work on, first come first served; `done` must follow. */
  take(nowMs: number): string | undefined {
    for (let key = this.#later.takeDue(nowMs); key !== undefined; key = this.#later.takeDue(nowMs)) this.add(key);
    const [key] = this.#ready;
    if (key === undefined) return undefined;
    this.#ready.delete(key);
    this.#working.add(key);
    return key;
  }

  done(key: string): void {
    if (!this.#working.delete(key)) throw new RangeError(`end the work on ${key}: it was not taken`);
    if (this.#again.delete(key)) this.#ready.add(key);
  }

  /** When something can be taken that cannot be now; Infinity: not before something is added. */
  nextDueMs(): number {
    return this.#later.nextDueMs();
  }

  /** Forgets all that is not being worked on. */
  clear(): void {
    this.#ready.clear();
    this.#again.clear();
    this.#later.clear();
    this.#failures.clear();
  }

  #bucketWaitMs(nowMs: number): number {
    const { retriesPerSecond, retryBurst } = this.#options;
    const perRetryMs = 1000 / retriesPerSecond;
    this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + perRetryMs;
    return Math.max(0, this.#fullAtMs - nowMs - retryBurst * perRetryMs);
  }
}
