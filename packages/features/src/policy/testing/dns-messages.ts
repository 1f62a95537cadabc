/** Answers of DNS, right and wrong ones, for tests. */
import type { Chance } from "./random.ts";

const longest = [..."abcdefg"].map((letter) => letter.repeat(35)).join(".");
const names = [
  "a.test",
  "www.a.test",
  "edge-1.cdn_2.test",
  "b.test",
  "x",
  `${"l".repeat(63)}.test`,
  `${"m".repeat(64)}.test`,
  `${longest}.z`,
  `${longest}.zz`,
  `${longest}.zzz`,
  "odd name.test",
] as const;

/** Of a message in a packet that test runs take. */
const mostBytes = 3000;

export const types = { A: 1, CNAME: 5, TXT: 16, AAAA: 28 } as const;

export interface Question {
  readonly id: number;
  readonly name: string;
  readonly type: number;
}

/** A message that answers, or nearly does, and what was asked for. */
export function randomAnswer(chance: Chance): { readonly message: Buffer; readonly asked: Question } {
  const asked = { id: chance.below(65536), name: chance.of(names), type: chance.of([types.A, types.A, types.AAAA]) };
  const writer = new Writer(chance);
  const count = chance.is(3) ? 60 + chance.below(10) : chance.below(7);
  writer.half(chance.is(97) ? asked.id : chance.below(65536));
  writer.half(chance.is(94) ? 0x8180 : chance.of([0x0100, 0x8380, 0x8183, 0x8980]));
  writer.half(chance.is(98) ? 1 : chance.below(3));
  writer.half(chance.is(95) ? count : chance.below(70));
  writer.half(0);
  writer.half(0);
  writer.name(chance.is(96) ? asked.name : chance.of(names));
  writer.half(chance.is(97) ? asked.type : types.TXT);
  writer.half(chance.is(98) ? 1 : 3);
  let owner: string = asked.name;
  for (let record = 0; record < count; record++) owner = writeRecord(writer, chance, owner, asked.type);
  return { message: mutate(chance, writer.bytes).subarray(0, mostBytes), asked };
}

/** Whose records are next. */
function writeRecord(writer: Writer, chance: Chance, owner: string, asked: number): string {
  const target = chance.of(names);
  const type = chance.is(70) ? asked : chance.of([types.CNAME, types.CNAME, types.A, types.AAAA, types.TXT]);
  writer.name(chance.is(85) ? owner : target);
  writer.half(type);
  writer.half(chance.is(97) ? 1 : 255);
  writer.half(chance.below(3));
  writer.half(chance.below(65536));
  writer.data(() => {
    if (type === types.CNAME) writer.name(target);
    else writer.random(type === types.A ? 4 : type === types.AAAA ? 16 : chance.below(20));
  });
  return type === types.CNAME && chance.is(80) ? target : owner;
}

/** Bytes that are others, are missing, or point elsewhere: often none. */
function mutate(chance: Chance, whole: Buffer): Buffer {
  if (chance.is(40)) return whole;
  const bytes = Buffer.from(whole);
  for (let count = chance.below(4); count > 0; count--) bytes[chance.below(bytes.length)] = chance.below(256);
  if (chance.is(30)) {
    const at = 12 + chance.below(bytes.length - 13);
    bytes.writeUInt16BE(0xc000 | chance.below(chance.is(80) ? bytes.length + 8 : 0x4000), at);
  }
  return chance.is(25) ? bytes.subarray(0, chance.below(bytes.length + 1)) : bytes;
}

class Writer {
  readonly #chance: Chance;
  readonly #bytes: number[] = [];
  /** Where the ends of names stand. */
  readonly #known = new Map<string, number>();

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  get bytes(): Buffer {
    return Buffer.from(this.#bytes);
  }

  half(value: number): void {
    this.#bytes.push((value >> 8) & 255, value & 255);
  }

  random(count: number): void {
    for (let at = 0; at < count; at++) this.#bytes.push(this.#chance.below(256));
  }

  /** Compressed now and then, with letters of either size. */
  name(text: string): void {
    for (let rest = text; rest !== ""; rest = rest.slice(rest.indexOf(".") + 1)) {
      const known = this.#known.get(rest);
      if (known !== undefined && this.#chance.is(80)) return this.half(0xc000 | known);
      if (this.#bytes.length < 0x4000) this.#known.set(rest, this.#bytes.length);
      const [label = ""] = rest.split(".");
      const letters = this.#chance.is(20) ? label.toUpperCase() : label;
      this.#bytes.push(label.length, ...Buffer.from(letters));
      if (label === rest) break;
    }
    this.#bytes.push(0);
  }

  /** With its length before it, mostly the right one. */
  data(write: () => void): void {
    const at = this.#bytes.length;
    this.half(0);
    write();
    const length = this.#bytes.length - at - 2 + (this.#chance.is(98) ? 0 : this.#chance.below(5) - 2);
    this.#bytes[at] = (length >> 8) & 255;
    this.#bytes[at + 1] = length & 255;
  }
}
