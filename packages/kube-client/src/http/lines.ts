/** Cuts a stream of bytes into lines, of which an unfinished last one is kept. */
export class LineCutter {
  #parts: Buffer[] = [];
  #kept = 0;
  readonly #longestBytes: number;

  constructor(longestBytes: number = 32 * 1024 * 1024) {
    this.#longestBytes = longestBytes;
  }

  /** Bytes of the line that is not whole yet. */
  get pendingBytes(): number {
    return this.#kept;
  }

  *cut(chunk: Buffer): Generator<string> {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const last = chunk.subarray(start, end);
      start = end + 1;
      const line = this.#kept === 0 ? last : Buffer.concat([...this.#parts, last]);
      this.#parts = [];
      this.#kept = 0;
      if (line.length > 0) yield line.toString("utf8");
    }
    if (start < chunk.length) {
      this.#kept += chunk.length - start;
      if (this.#kept > this.#longestBytes) throw new RangeError(`read a line: longer than ${this.#longestBytes} bytes`);
      this.#parts.push(chunk.subarray(start));
    }
  }
}
