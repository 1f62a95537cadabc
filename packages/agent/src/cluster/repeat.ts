import { isApiError } from "@bpfleet/kube";

export interface RepeatOptions {
  /** So long at least between two runs. */
  readonly paceMs: number;
  /** Tells whether there is more to do, and when; throws what failed. */
  readonly run: () => Promise<void>;
  /** Each failure once, until one succeeds. */
  readonly onFailure: (error: unknown) => void;
}

const firstRetryMs = 1000;
const longestRetryMs = 30_000;

/** Runs when it is asked to, one at a time, not too often, and again when it failed. */
export class Repeat implements AsyncDisposable {
  readonly #options: RepeatOptions;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Infinity;
  #running: Promise<void> | undefined;
  #lastMs = -Infinity;
  #retryMs = firstRetryMs;
  #isClosed = false;

  constructor(options: RepeatOptions) {
    this.#options = options;
  }

  /** As soon as the pace allows, and `delayMs` from now at the earliest. */
  ask(delayMs = 0): void {
    const now = performance.now();
    this.#askAt(Math.max(now + delayMs, this.#lastMs + this.#options.paceMs));
  }

  #askAt(dueMs: number): void {
    if (this.#isClosed || dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    clearTimeout(this.#timer);
    if (this.#running !== undefined) return;
    this.#timer = setTimeout(() => this.#start(), Math.max(0, dueMs - performance.now()));
    this.#timer.unref();
  }

  #start(): void {
    this.#dueMs = Infinity;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      const dueMs = this.#dueMs;
      this.#dueMs = Infinity;
      if (dueMs !== Infinity) this.#askAt(Math.max(dueMs, this.#lastMs + this.#options.paceMs));
    });
  }

  async #run(): Promise<void> {
    try {
      await this.#options.run();
      this.#retryMs = firstRetryMs;
    } catch (error) {
      this.#options.onFailure(error);
      const askedMs = isApiError(error) ? (error.retryAfterMs ?? 0) : 0;
      // A server that turns a whole fleet away must not see it again at one moment.
      const waitMs = Math.max(askedMs, this.#retryMs) * (1 + Math.random() / 2);
      this.#dueMs = Math.min(this.#dueMs, performance.now() + waitMs);
      this.#retryMs = Math.min(longestRetryMs, this.#retryMs * 2);
    } finally {
      this.#lastMs = performance.now();
    }
  }

  /** What runs is awaited, what is due is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }
}
