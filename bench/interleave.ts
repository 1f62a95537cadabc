import { median } from "./result.ts";

/** One contender: runs once and says how many nanoseconds one unit of work took. */
export interface Contender {
  readonly name: string;
  run(): Promise<number>;
}

export interface Timing {
  readonly min: number;
  readonly median: number;
}

/**
 * Runs all contenders in turn, round after round, so that a machine that drifts drifts for all of
 * them; the first round warms up and does not count.
 */
export async function interleave(contenders: readonly Contender[], rounds: number): Promise<Map<string, Timing>> {
  const samples = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const contender of contenders) {
      const ns = await contender.run();
      if (round > 0) samples.get(contender.name)?.push(ns);
    }
  }
  return new Map([...samples].map(([name, values]) => [name, { min: Math.min(...values), median: median(values) }]));
}

export function timingOf(timings: ReadonlyMap<string, Timing>, name: string): Timing {
  const timing = timings.get(name);
  if (!timing) throw new TypeError(`no contender ${name}`);
  return timing;
}
