/** One answer: our figure beside a peer's, both taken in the same run. */
export interface BenchResult {
  /** Dotted, ends in what is measured: `filter.blacklist.100k.hot.ns-over-empty`. */
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly peer: string;
  readonly peerValue: number;
  /** value / peerValue. */
  readonly ratio: number;
  /** What we aim for, in words: `<= 60 ns`. Reported, never a gate. */
  readonly target: string | null;
}

export interface BenchQuestion {
  readonly name: string;
  /** One sentence: what is asked and how it is answered. */
  readonly asks: string;
  /** Resolves to the answers, or throws `Unanswerable` where this machine lacks a peer. */
  ask(context: BenchContext): Promise<readonly BenchResult[]>;
}

export interface BenchContext {
  /** Fewer rounds and repeats, for trying a question out. */
  readonly isQuick: boolean;
  readonly scratchDir: string;
  readonly progress: (line: string) => void;
}

export class Unanswerable extends Error {
  override readonly name = "Unanswerable";
}

export function answer(
  name: string,
  unit: string,
  value: number,
  peer: string,
  peerValue: number,
  target: string | null = null,
): BenchResult {
  return {
    name,
    unit,
    value: round(value),
    peer,
    peerValue: round(peerValue),
    ratio: value === peerValue ? 1 : round(value / peerValue),
    target,
  };
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Nearest rank; `values` need not be sorted. */
export function quantile(values: readonly number[], rank: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(rank * sorted.length))] ?? Number.NaN;
}
