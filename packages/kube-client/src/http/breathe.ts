import { setImmediate } from "node:timers/promises";

/** Lets others have their turn when a long piece of work has held the loop for some milliseconds. */
export class Breather {
  readonly #turnMs: number;
  #sinceMs = performance.now();

  constructor(turnMs: number = 8) {
    this.#turnMs = turnMs;
  }

  get isDue(): boolean {
    return performance.now() - this.#sinceMs >= this.#turnMs;
  }

  async breathe(): Promise<void> {
    await setImmediate();
    this.#sinceMs = performance.now();
  }
}
