/** What all nodes together write of numbers that grew, whatever the traffic. */
const writesPerSecond = 20;

/** When a node tells of numbers alone: at a moment of its own in a round that grows with the fleet. */
export class NumbersRound {
  readonly #place = Math.random();
  #dueMs = 0;

  /** Until numbers that are all that changed may be told. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#dueMs - nowMs);
  }

  /** They were, in a fleet of so many: again after `usualMs` where that has time for all of them. */
  told(nowMs: number, nodes: number, usualMs: number): void {
    const roundMs = (nodes / writesPerSecond) * 1000;
    this.#dueMs = roundMs <= usualMs ? nowMs + usualMs : this.#nextMs(nowMs, roundMs);
  }

  /** There was nothing to tell: traffic that begins everywhere is not told by all at once. */
  missed(nowMs: number, nodes: number, usualMs: number): void {
    const roundMs = (nodes / writesPerSecond) * 1000;
    if (this.#dueMs <= nowMs && roundMs > usualMs) this.#dueMs = this.#nextMs(nowMs, roundMs);
  }

  #nextMs(nowMs: number, roundMs: number): number {
    return (Math.floor(nowMs / roundMs - this.#place) + 1 + this.#place) * roundMs;
  }
}
