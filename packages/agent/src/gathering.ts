/** Files of one `apply` that come at once are one plan: it begins after so much silence, or so much time. */
const silenceMs = 2;
const mostMs = 20;

/** Runs something once for hints that come at once. */
export class Gathering implements Disposable {
  readonly #run: () => Promise<void>;
  #timer: NodeJS.Timeout | undefined;
  #isMoreComing = false;
  #last: { readonly ended: Promise<void>; readonly end: () => void } | undefined;

  constructor(run: () => Promise<void>) {
    this.#run = run;
  }

  /** Resolves when the run for what was hinted at last has ended; `undefined` when it has. */
  get running(): Promise<void> | undefined {
    return this.#last?.ended;
  }

  hint(): void {
    if (this.#timer !== undefined) {
      this.#isMoreComing = true;
      return;
    }
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    this.#last = { ended, end };
    this.#wait(performance.now() + mostMs);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#last?.end();
  }

  /** Waits for a moment of silence, but not for ever. */
  #wait(untilMs: number): void {
    this.#isMoreComing = false;
    this.#timer = setTimeout(() => {
      if (this.#isMoreComing && performance.now() < untilMs) return this.#wait(untilMs);
      this.#timer = undefined;
      const own = this.#last;
      void this.#run().then(() => {
        if (this.#last === own) this.#last = undefined;
        own?.end();
      });
    }, silenceMs);
  }
}
