import type { Timing } from "../timing.ts";

/** One time of leading; it is over when the lease has run out, whatever the API server does. */
export class Term {
  readonly #timing: Timing;
  readonly #untilMs: () => number;
  readonly #ending = new AbortController();
  readonly #over = new AbortController();
  #work: Promise<void> | undefined;
  #timer: AbortController | undefined;
  /** The work ended without being told to. */
  hasEndedItself = false;

  constructor(timing: Timing, untilMs: () => number) {
    this.#timing = timing;
    this.#untilMs = untilMs;
  }

  /** Set when the work has ended or must end. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  get mustEnd(): boolean {
    return this.#over.signal.aborted;
  }

  begin(lead: (signal: AbortSignal) => Promise<void>): void {
    const { signal } = this.#ending;
    this.#work = lead(signal).finally(() => {
      this.hasEndedItself = !signal.aborted;
      this.#over.abort();
    });
    // Its failure is told by `end`.
    this.#work.catch(() => undefined);
    this.extend();
  }

  extend(): void {
    this.#timer?.abort();
    const timer = new AbortController();
    this.#timer = timer;
    const leftMs = this.#untilMs() - this.#timing.monotonicMs();
    void this.#timing.sleep(Math.max(0, leftMs), timer.signal).then(() => {
      if (timer.signal.aborted) return;
      this.#ending.abort();
      this.#over.abort();
    });
  }

  async end(): Promise<void> {
    this.#timer?.abort();
    this.#ending.abort();
    try {
      await this.#work;
    } catch (error) {
      // The usual answer of work to being ended.
      if (error instanceof Error && error.name === "AbortError") return;
      throw error;
    }
  }
}
