/**
 * Numbered things, divided by sets: things that belong to the same sets share a block. Block 0 is of those in none.
 */
export class Partition {
  /** Block of each thing. */
  readonly blocks: Int32Array;
  /** How a block came about: out of which one, by which set. */
  readonly #parents: number[] = [0];
  readonly #sets: number[] = [-1];
  /** Block → what it becomes by the present set. */
  readonly #next: number[] = [0];
  readonly #stamps: number[] = [-1];
  #stamp = 0;

  constructor(count: number) {
    this.blocks = new Int32Array(count);
  }

  /** Numbers of things that are given twice belong once. Each set is given once, in one call. */
  divide(set: number, members: Iterable<number>): void {
    this.#stamp++;
    const stamp = this.#stamp;
    const fresh = this.#parents.length;
    for (const thing of members) {
      const block = this.blocks[thing] ?? 0;
      if (block >= fresh) continue;
      if (this.#stamps[block] !== stamp) {
        this.#stamps[block] = stamp;
        this.#next[block] = this.#parents.length;
        this.#parents.push(block);
        this.#sets.push(set);
        this.#next.push(0);
        this.#stamps.push(-1);
      }
      this.blocks[thing] = this.#next[block] ?? 0;
    }
  }

  /** Other things, each in the block of the thing here that it belongs to. */
  refined(of: readonly number[]): Partition {
    const finer = new Partition(of.length);
    for (let thing = 0; thing < of.length; thing++) finer.blocks[thing] = this.blocks[of[thing] ?? 0] ?? 0;
    for (let block = 1; block < this.#parents.length; block++) {
      finer.#parents.push(this.#parents[block] ?? 0);
      finer.#sets.push(this.#sets[block] ?? 0);
      finer.#next.push(0);
      finer.#stamps.push(-1);
    }
    return finer;
  }

  /** Things by block, where blocks that something is in are numbered from 1 as they come; block 0 stays 0. */
  dense(): { readonly numbers: Uint32Array; readonly blockOf: readonly number[] } {
    const numberOf = new Uint32Array(this.#parents.length);
    const numbers = new Uint32Array(this.blocks.length);
    const blockOf = [0];
    for (let thing = 0; thing < numbers.length; thing++) {
      const block = this.blocks[thing] ?? 0;
      if (block === 0) continue;
      let number = numberOf[block] ?? 0;
      if (number === 0) {
        number = numberOf[block] = blockOf.length;
        blockOf.push(block);
      }
      numbers[thing] = number;
    }
    return { numbers, blockOf };
  }

  /** The sets to which the things of a block belong, last given first. */
  setsOf(block: number): number[] {
    const sets: number[] = [];
    for (let at = block; at !== 0; at = this.#parents[at] ?? 0) sets.push(this.#sets[at] ?? 0);
    return sets;
  }
}
