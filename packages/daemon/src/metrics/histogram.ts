import type { Labels, Sample } from "./exposition.ts";

/** Counts observations in buckets, as Prometheus wants them: each bucket holds all that are not larger. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  /** Upper bounds, ascending; a last one without bound is implied. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.#sum += value;
    this.#count++;
    const bucket = this.#bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  *samples(labels: Labels = {}): Generator<Sample, void, undefined> {
    let below = 0;
    for (const [index, bound] of this.#bounds.entries()) {
      below += this.#counts[index] ?? 0;
      yield { suffix: "_bucket", labels: { ...labels, le: bound.toString() }, value: below };
    }
    yield { suffix: "_bucket", labels: { ...labels, le: "+Inf" }, value: this.#count };
    yield { suffix: "_sum", labels, value: this.#sum };
    yield { suffix: "_count", labels, value: this.#count };
  }
}
