import type { Clock } from "./clock.ts";

/** What was said lately need not be said again; what recurs later is news. */
export class SaidLately {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #forMs: number;
  readonly #most: number;
  /** When each text was last said, the oldest first. */
  readonly #saidAt = new Map<string, number>();

  /** Beyond `most` texts the oldest are forgotten before their time. */
  constructor(clock: Pick<Clock, "monotonicMs">, { forMs, most }: { readonly forMs: number; readonly most: number }) {
    this.#clock = clock;
    this.#forMs = forMs;
    this.#most = most;
  }

  get size(): number {
    return this.#saidAt.size;
  }

  /** Whether it is to be said now; it counts as said then. */
  isNews(text: string): boolean {
    const now = this.#clock.monotonicMs();
    for (const [old, at] of this.#saidAt) {
      if (now - at < this.#forMs) break;
      this.#saidAt.delete(old);
    }
    if (this.#saidAt.has(text)) return false;
    this.#saidAt.set(text, now);
    for (const oldest of this.#saidAt.keys()) {
      if (this.#saidAt.size <= this.#most) break;
      this.#saidAt.delete(oldest);
    }
    return true;
  }
}
