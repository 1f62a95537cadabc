/** Lets one waiter sleep until somebody raises it or the time is up. Raises that nobody waited for are kept, as one. */
export class Signal {
  #isRaised = false;
  #wake: (() => void) | undefined;

  get isRaised(): boolean {
    return this.#isRaised;
  }

  raise(): void {
    this.#isRaised = true;
    this.#wake?.();
  }

  /** Resolves when raised, or after `timeoutMs`; lowers it. */
  async wait(timeoutMs: number): Promise<void> {
    if (!this.#isRaised) {
      await new Promise<void>((resolve) => {
        // setTimeout takes 31 bits and reads anything longer as 1 ms.
        const timer =
          timeoutMs === Infinity ? undefined : setTimeout(resolve, Math.min(Math.max(0, timeoutMs), 2 ** 31 - 1));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    this.#isRaised = false;
  }
}
