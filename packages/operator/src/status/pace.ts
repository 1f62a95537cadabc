/** How soon what changed is written. */
export interface Pace {
  /** What many nodes say at about the same time is one write. */
  readonly gatherMs: number;
  /** Between two writes of one object. */
  readonly betweenMs: number;
  /** More of it for each node: each of them is told of every write. */
  readonly betweenMsPerNode: number;
  /** The same when only numbers changed. */
  readonly numbersMs: number;
  readonly numbersMsPerNode: number;
  readonly workers: number;
}

export const usualPace: Pace = {
  gatherMs: 100,
  betweenMs: 1000,
  betweenMsPerNode: 1,
  numbersMs: 30_000,
  numbersMsPerNode: 30,
  workers: 4,
};

/** Between two writes of one object in a fleet of so many nodes. */
export function betweenWritesMs(pace: Pace, nodes: number, changed: "state" | "numbers"): number {
  if (changed === "numbers") return Math.max(pace.numbersMs, pace.numbersMsPerNode * nodes);
  return Math.max(pace.betweenMs, pace.betweenMsPerNode * nodes);
}
