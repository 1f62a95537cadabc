import { encodeUtf8 } from "@bpfleet/base";

interface Field {
  readonly name: string;
  readonly type: number;
  readonly offset: number;
  readonly bits?: number;
}

/** Writes little-endian BTF, type by type. Methods give the id. */
export class TypeWriter {
  readonly #words: number[] = [];
  readonly #names: number[];
  readonly #namesStart: number;
  #next: number;

  constructor(next = 1, namesStart = 0) {
    this.#next = next;
    this.#namesStart = namesStart;
    this.#names = namesStart === 0 ? [0] : [];
  }

  int(name: string, size: number, { isSigned = false, isBool = false } = {}): number {
    return this.#add(1, name, 0, size, [(((isSigned ? 1 : 0) | (isBool ? 4 : 0)) << 24) | (size * 8)]);
  }

  pointer(type: number): number {
    return this.#add(2, "", 0, type, []);
  }

  array(type: number, count: number): number {
    return this.#add(3, "", 0, 0, [type, type, count]);
  }

  struct(name: string, size: number, fields: readonly Field[]): number {
    return this.#composite(4, name, size, fields);
  }

  union(name: string, size: number, fields: readonly Field[]): number {
    return this.#composite(5, name, size, fields);
  }

  enumeration(name: string, size: number, values: readonly (readonly [string, number])[]): number {
    return this.#add(
      6,
      name,
      values.length,
      size,
      values.flatMap(([each, value]) => [this.#name(each), value]),
    );
  }

  typedef(name: string, type: number): number {
    return this.#add(8, name, 0, type, []);
  }

  constant(type: number): number {
    return this.#add(10, "", 0, type, []);
  }

  float(name: string, size: number): number {
    return this.#add(16, name, 0, size, []);
  }

  /** One field for each number, whose type it chooses. */
  anyStruct(shape: readonly number[]): number {
    const [u8, u16, u32] = [this.int("unsigned char", 1), this.int("unsigned short", 2), this.int("unsigned int", 4)];
    const s64 = this.int("long", 8, { isSigned: true });
    const choices = [
      { type: u8, size: 1 },
      { type: this.typedef("__be16", u16), size: 2 },
      { type: this.typedef("__be32", u32), size: 4 },
      { type: s64, size: 8 },
      { type: this.array(this.int("char", 1, { isSigned: true }), 5), size: 5 },
      { type: this.array(u8, 6), size: 6 },
      { type: this.int("_Bool", 1, { isBool: true }), size: 1 },
      {
        type: this.enumeration("verdict", 4, [
          ["PASS", 0],
          ["DENIED", 1],
        ]),
        size: 4,
      },
      { type: this.pointer(0), size: 8 },
    ];
    let at = 0;
    const fields: Field[] = shape.map((choice, index) => {
      const { type, size } = choices[choice % choices.length] ?? { type: u8, size: 1 };
      at += size;
      return { name: index % 2 === 0 ? `f${index}` : `f${index}_addr`, type, offset: (at - size) * 8 };
    });
    return this.struct("any", at, fields);
  }

  /** One whose types and names follow those written so far. */
  split(): TypeWriter {
    return new TypeWriter(this.#next, this.#names.length);
  }

  bytes(): Uint8Array {
    const types = this.#words.length * 4;
    const view = new DataView(new ArrayBuffer(24 + types + this.#names.length));
    view.setUint16(0, 0xeb9f, true);
    view.setUint8(2, 1);
    for (const [at, word] of [24, 0, types, types, this.#names.length].entries())
      view.setUint32(4 + at * 4, word, true);
    for (const [at, word] of this.#words.entries()) view.setUint32(24 + at * 4, word, true);
    const bytes = new Uint8Array(view.buffer);
    bytes.set(this.#names, 24 + types);
    return bytes;
  }

  #composite(kind: number, name: string, size: number, fields: readonly Field[]): number {
    const hasBits = fields.some(({ bits }) => bits !== undefined);
    const words = fields.flatMap(({ name: each, type, offset, bits = 0 }) => [
      this.#name(each),
      type,
      hasBits ? (bits << 24) | offset : offset,
    ]);
    return this.#add(kind, name, fields.length, size, words, hasBits);
  }

  #add(kind: number, name: string, count: number, sizeOrType: number, words: readonly number[], flag = false): number {
    this.#words.push(this.#name(name), (flag ? 0x80000000 : 0) | (kind << 24) | count, sizeOrType, ...words);
    return this.#next++;
  }

  #name(name: string): number {
    if (name === "") return 0;
    const at = this.#namesStart + this.#names.length;
    this.#names.push(...encodeUtf8(name), 0);
    return at;
  }
}
