/** As much of ELF as tells what an object or a binary has; 64 bits, little endian. */

export interface ElfSection {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly type: number;
}

export interface ElfSymbol {
  readonly name: string;
  readonly value: number;
  readonly size: number;
  /** Index of its section; 0 is none. */
  readonly section: number;
  readonly isFunction: boolean;
}

interface Segment {
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

const symbolTables: ReadonlySet<number> = new Set([2, 11]);
const loadable = 1;

/** `undefined` for anything that is not such a file, or is cut short. */
export function openElf(bytes: Uint8Array): Elf | undefined {
  const isElf = bytes.length >= 64 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
  if (!isElf || bytes[4] !== 2 || bytes[5] !== 1) return undefined;
  try {
    return new Elf(bytes);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

class Elf {
  readonly #bytes: Buffer;
  readonly sections: readonly ElfSection[];
  readonly #segments: readonly Segment[];

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.sections = this.#readSections();
    this.#segments = this.#readSegments();
  }

  symbols(): ElfSymbol[] {
    return this.sections.flatMap((table) => {
      if (!symbolTables.has(table.type)) return [];
      const names = this.sections[table.link];
      const symbols: ElfSymbol[] = [];
      for (let at = table.offset; at + 24 <= table.offset + table.size; at += 24) {
        symbols.push({
          name: names === undefined ? "" : this.#text(names.offset + this.#bytes.readUInt32LE(at)),
          value: this.#number(at + 8),
          size: this.#number(at + 16),
          section: this.#bytes.readUInt16LE(at + 6),
          isFunction: ((this.#bytes[at + 4] ?? 0) & 15) === 2,
        });
      }
      return symbols;
    });
  }

  /** Where in the file a function begins; `undefined` when it is not there. */
  findFunction(name: string): number | undefined {
    const symbol = this.symbols().find((each) => each.isFunction && each.section !== 0 && each.name === name);
    const segment = this.#segments.find(
      ({ address, size }) => symbol && symbol.value >= address && symbol.value < address + size,
    );
    return symbol && segment && symbol.value - segment.address + segment.offset;
  }

  #readSections(): ElfSection[] {
    const start = this.#number(0x28);
    const size = this.#bytes.readUInt16LE(0x3a);
    const count = this.#bytes.readUInt16LE(0x3c);
    const raw = Array.from({ length: count }, (_, index) => {
      const at = start + index * size;
      return {
        nameAt: this.#bytes.readUInt32LE(at),
        type: this.#bytes.readUInt32LE(at + 4),
        offset: this.#number(at + 24),
        size: this.#number(at + 32),
        link: this.#bytes.readUInt32LE(at + 40),
      };
    });
    const names = raw[this.#bytes.readUInt16LE(0x3e)];
    return raw.map(({ nameAt, ...rest }) => ({ ...rest, name: names ? this.#text(names.offset + nameAt) : "" }));
  }

  #readSegments(): Segment[] {
    const start = this.#number(0x20);
    const size = this.#bytes.readUInt16LE(0x36);
    const segments: Segment[] = [];
    for (let index = 0; index < this.#bytes.readUInt16LE(0x38); index++) {
      const at = start + index * size;
      if (this.#bytes.readUInt32LE(at) !== loadable) continue;
      segments.push({ offset: this.#number(at + 8), address: this.#number(at + 16), size: this.#number(at + 32) });
    }
    return segments;
  }

  #number(at: number): number {
    return Number(this.#bytes.readBigUInt64LE(at));
  }

  #text(at: number): string {
    const end = this.#bytes.indexOf(0, at);
    return this.#bytes.toString("utf8", at, end < 0 ? undefined : end);
  }
}
