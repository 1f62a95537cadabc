import { malformed } from "./read-types.ts";

/** Chains and nesting beyond this are not what a compiler writes. */
export const deepest = 64;

/** One way down through types: ends where a type contains itself, or fans out without end. */
export class Walk {
  readonly #depth: number;
  readonly #budget: { left: number };

  constructor(depth = 0, budget = { left: 200_000 }) {
    this.#depth = depth;
    this.#budget = budget;
  }

  deeper(): Walk {
    if (this.#depth >= deepest) throw malformed("a type contains itself");
    if (this.#budget.left-- <= 0) throw malformed("a type is too large to be told");
    return new Walk(this.#depth + 1, this.#budget);
  }
}
