/** Files of one `apply` that come at once are one plan: it begins after so much silence, or so much time. */
const silenceMs = 2;
const mostMs = 20;

/** Runs something once for hints that come at once. */
export class Gathering implements Disposable {
  readonly #run: () => Promise<void>;
  #timer: NodeJS.Timeout | undefined;
  #isMoreComing = false;
  #running: Promise<void> | undefined;
  #end: () => void = () => undefined;

  constructor(run: () => Promise<void>) {
    this.#run = run;
  }

  /** Resolves when the run for what is being gathered has ended; `undefined` when nothing is. */
  get running(): Promise<void> | undefined {
    return this.#running;
  }

  hint(): void {
    if (this.#timer !== undefined) {
      this.#isMoreComing = true;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running = promise;
    this.#end = resolve;
    this.#wait(performance.now() + mostMs);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#end();
  }

  /** Waits for a moment of silence, but not for ever. */
  #wait(untilMs: number): void {
    this.#isMoreComing = false;
    this.#timer = setTimeout(() => {
      if (this.#isMoreComing && performance.now() < untilMs) return this.#wait(untilMs);
      this.#timer = undefined;
      this.#running = undefined;
      void this.#run().then(this.#end);
    }, silenceMs);
  }
}
