/** What all nodes together write of one change, where the server answers at once. */
const writesPerSecond = 200;
/** An answer that takes longer comes from a server that has too much to do. */
const slowMs = 1000;
const quickMs = 250;
const mostFactor = 8;
/** In a small fleet too a server that is busy is left alone for a while. */
const busyMs = 2000;

/**
 * When a node tells what all nodes have to tell at the same time: at a moment of its own, within a time that grows with
 * the fleet, and with what the server's answers cost.
 */
export class WriteSpread {
  #factor = 1;

  /** Within how many milliseconds a node of so many writes. */
  windowMs(nodes: number): number {
    const usualMs = nodes <= 1 ? 0 : (nodes / writesPerSecond) * 1000;
    return this.#factor === 1 ? usualMs : Math.max(usualMs, busyMs) * this.#factor;
  }

  answered(tookMs: number): void {
    if (tookMs > slowMs) this.#slower();
    else if (tookMs < quickMs) this.#factor = Math.max(1, this.#factor / 2);
  }

  /** The server turned it away, or did not answer. */
  turnedAway(): void {
    this.#slower();
  }

  #slower(): void {
    this.#factor = Math.min(mostFactor, this.#factor * 2);
  }
}
