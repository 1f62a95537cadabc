const quote = 0x22;
const backslash = 0x5c;
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

/**
 * Cuts the JSON text of a list into its items while it comes in, so that no list is ever parsed in one go.
 * What remains (`rest`) is the list with an empty `items`.
 */
export class ListCutter {
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  /** The key that is read or was read last at depth 1. */
  #key: number[] | undefined;
  #lastKey = "";
  #inItems = false;
  #item: Buffer[] = [];
  readonly #rest: Buffer[] = [];

  /** The texts of the items that this piece completes. */
  *cut(chunk: Buffer): Generator<string> {
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] as number;
      if (this.#inString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === backslash) this.#isEscaped = true;
        else if (byte === quote) this.#endString();
        else if (this.#key !== undefined) this.#key.push(byte);
        continue;
      }
      switch (byte) {
        case quote:
          this.#inString = true;
          if (this.#depth === 1) this.#key = [];
          break;
        case openBrace:
        case openBracket:
          this.#depth += 1;
          if (this.#depth === 2 && byte === openBracket && this.#lastKey === "items") {
            this.#rest.push(chunk.subarray(start, at + 1));
            this.#inItems = true;
            start = at + 1;
          } else if (this.#inItems && this.#depth === 3) start = at;
          break;
        case closeBrace:
        case closeBracket:
          this.#depth -= 1;
          if (this.#inItems && this.#depth === 2) {
            this.#item.push(chunk.subarray(start, at + 1));
            start = at + 1;
            yield this.#takeItem();
          } else if (this.#inItems && this.#depth === 1) {
            this.#inItems = false;
            start = at;
          }
          break;
        default:
      }
    }
    if (!this.#inItems) this.#rest.push(chunk.subarray(start));
    else if (this.#depth >= 3) this.#item.push(chunk.subarray(start));
  }

  /** The list without its items, as text. */
  rest(): string {
    return Buffer.concat(this.#rest).toString("utf8");
  }

  #endString(): void {
    this.#inString = false;
    if (this.#key === undefined) return;
    this.#lastKey = Buffer.from(this.#key).toString("utf8");
    this.#key = undefined;
  }

  #takeItem(): string {
    const parts = this.#item;
    this.#item = [];
    return (parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)).toString("utf8");
  }
}
