/** What all nodes together write of numbers that grew, whatever the traffic. */
const writesPerSecond = 20;

/** When a node tells of numbers alone: at a moment of its own in a round that grows with the fleet. */
export class NumbersRound {
  readonly #place = Math.random();

  /** The node's next moment after `nowMs` in a fleet of so many, `usualMs` from now where that has time for all of them. */
  nextMs(nowMs: number, nodes: number, usualMs: number): number {
    const roundMs = (nodes / writesPerSecond) * 1000;
    if (roundMs <= usualMs) return nowMs + usualMs;
    return (Math.floor(nowMs / roundMs - this.#place) + 1 + this.#place) * roundMs;
  }
}
