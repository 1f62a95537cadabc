const quote = 0x22;
const backslash = 0x5c;
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

/**
 * Cuts the JSON text of a list into its items while it comes in, so that no list is ever parsed in one go.
 * What remains (`rest`) is the list with an empty `items`.
 */
export class ListCutter {
  /** Braces and brackets that are open; within an item braces alone, 0 between items. */
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  #inItems = false;
  /** The key that is read at depth 1, and the one read last. */
  #key: number[] | undefined;
  #lastKey = "";
  #item: Buffer[] = [];
  readonly #rest: Buffer[] = [];

  /** The texts of the items that this piece completes. */
  cut(chunk: Buffer): readonly string[] {
    const texts: string[] = [];
    for (let at = 0; at < chunk.length;)
      at = this.#inItems ? this.#readItems(chunk, at, texts) : this.#readRest(chunk, at);
    return texts;
  }

  /** The list without its items, as text. */
  rest(): string {
    return Buffer.concat(this.#rest).toString("utf8");
  }

  /** From `from` to behind the bracket that opens the items, or to the end. */
  #readRest(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte === undefined) break;
      if (this.#inString) this.#readString(byte);
      else if (byte === quote) {
        this.#inString = true;
        if (this.#depth === 1) this.#key = [];
      } else if (byte === openBrace || byte === openBracket) {
        if (byte === openBracket && this.#depth === 1 && this.#lastKey === "items") {
          this.#rest.push(chunk.subarray(from, at + 1));
          this.#inItems = true;
          this.#depth = 0;
          return at + 1;
        }
        this.#depth += 1;
      } else if (byte === closeBrace || byte === closeBracket) this.#depth -= 1;
    }
    this.#rest.push(chunk.subarray(from));
    return chunk.length;
  }

  #readString(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === backslash) this.#isEscaped = true;
    else if (byte === quote) {
      this.#inString = false;
      if (this.#key !== undefined) this.#lastKey = Buffer.from(this.#key).toString("utf8");
      this.#key = undefined;
    } else this.#key?.push(byte);
  }

  /** From `from` to the bracket that closes the items, or to the end. The loop that sees every byte: no more than it needs. */
  #readItems(chunk: Buffer, from: number, texts: string[]): number {
    let depth = this.#depth;
    let inString = this.#inString;
    let isEscaped = this.#isEscaped;
    let start = from;
    let at = from;
    for (; at < chunk.length; at++) {
      const byte = chunk[at];
      if (inString) {
        if (isEscaped) isEscaped = false;
        else if (byte === backslash) isEscaped = true;
        else if (byte === quote) inString = false;
      } else if (byte === quote) inString = true;
      else if (byte === openBrace) {
        if (depth === 0) start = at;
        depth += 1;
      } else if (byte === closeBrace) {
        depth -= 1;
        if (depth === 0) texts.push(this.#takeItem(chunk.subarray(start, at + 1)));
      } else if (byte === closeBracket && depth === 0) {
        this.#inItems = false;
        depth = 1;
        break;
      }
    }
    this.#isEscaped = isEscaped;
    this.#inString = inString;
    if (this.#inItems && depth > 0) this.#item.push(chunk.subarray(start, at));
    this.#depth = depth;
    if (at === chunk.length) return at;
    // The bracket that closes the items; what it opened was not counted.
    this.#rest.push(chunk.subarray(at, at + 1));
    return at + 1;
  }

  #takeItem(last: Buffer): string {
    if (this.#item.length === 0) return last.toString("utf8");
    const whole = Buffer.concat([...this.#item, last]);
    this.#item = [];
    return whole.toString("utf8");
  }
}
