import { readFile } from "node:fs/promises";
import type { Timing } from "../timing.ts";

const freshMs = 10_000;

/** A file that others renew: read again now and then; what cannot be read keeps what was read before. */
export class RenewedFile {
  readonly path: string;
  readonly #timing: Pick<Timing, "monotonicMs">;
  #text: string | undefined;
  #readAtMs = -Infinity;

  constructor(path: string, timing: Pick<Timing, "monotonicMs">) {
    this.path = path;
    this.#timing = timing;
  }

  async text(): Promise<string> {
    const now = this.#timing.monotonicMs();
    if (this.#text !== undefined && now - this.#readAtMs < freshMs) return this.#text;
    try {
      const text = (await readFile(this.path, "utf8")).trim();
      // Half written: the whole of it comes.
      if (text !== "" || this.#text === undefined) this.#text = text;
      this.#readAtMs = now;
    } catch (error) {
      if (this.#text === undefined) throw error;
    }
    return this.#text;
  }

  /** The next `text` reads it. */
  expire(): void {
    this.#readAtMs = -Infinity;
  }
}
