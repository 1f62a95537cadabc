import { renderHex } from "@bpfleet/base";
import { BtfError } from "./btf-error.ts";
import type { Btf } from "./btf.ts";
import type { BtfMember, BtfType } from "./btf-type.ts";
import { isPadding, networkOrder } from "./layout.ts";
import { renderIpv4, renderIpv6, renderMac } from "./network-text.ts";
import { malformed } from "./read-types.ts";
import { findText, specialForm } from "./special-form.ts";
import { Walk } from "./walk.ts";

/** As JSON has it, and bigint for 64 bits and more. */
export type BtfValue = number | bigint | boolean | string | readonly BtfValue[] | { readonly [name: string]: BtfValue };

/**
 * The value that the bytes are, by its type. Integers of 8 and 16 bytes and pointers are bigint; __be16, __be32
 * and __be64 are numbers as people write them (port 53, not 13568), addresses text where type and name say so;
 * enumerators are their names; char arrays are text, other bytes `0x…` in the order of memory. What only fills
 * room is left out. `fieldName` is the name that the whole goes by, "" for none.
 */
export function decodeValue(btf: Btf, typeId: number, bytes: Uint8Array, fieldName = ""): BtfValue {
  const size = btf.sizeOf(typeId);
  if (bytes.length !== size)
    throw new BtfError("misfit", `decode a value: ${bytes.length} bytes, its type has ${size}`);
  return new Decoder(btf, bytes).value(typeId, 0, fieldName, new Walk());
}

class Decoder {
  readonly #btf: Btf;
  readonly #bytes: Uint8Array;

  constructor(btf: Btf, bytes: Uint8Array) {
    this.#btf = btf;
    this.#bytes = bytes;
  }

  value(id: number, at: number, name: string, walk: Walk): BtfValue {
    const type = this.#btf.resolved(id);
    const special = specialForm(this.#btf, id, name);
    if (special !== undefined) return this.#special(special, this.#take(at, this.#btf.sizeOf(id)));
    switch (type.kind) {
      case "int":
        return this.#int(id, type, this.#take(at, type.size));
      case "pointer":
        return this.#word(this.#take(at, 8));
      case "enum":
      case "enum64":
        return enumerator(type, this.#signed(this.#word(this.#take(at, type.size)), type.size * 8, type.isSigned));
      case "float":
        return this.#float(this.#take(at, type.size));
      case "array": {
        const size = this.#btf.sizeOf(type.type);
        if (size === 0) return [];
        this.#take(at, size * type.count);
        return Array.from({ length: type.count }, (_, index) =>
          this.value(type.type, at + index * size, name, walk.deeper()),
        );
      }
      case "struct":
      case "union":
        return Object.fromEntries(this.#fields(type, at, walk));
      case "section":
        return Object.fromEntries(
          type.members.map((member) => {
            const variable = this.#btf.get(member.type);
            return [variable.name, this.value(variable.type, at + member.offset, variable.name, walk.deeper())];
          }),
        );
      case "variable":
        return this.value(type.type, at, type.name, walk.deeper());
      default:
        throw new BtfError("no-size", `decode a value: ${type.kind} ${type.name} has none`);
    }
  }

  #fields(type: BtfType, at: number, walk: Walk): (readonly [string, BtfValue])[] {
    return type.members.flatMap((member): (readonly [string, BtfValue])[] => {
      if (isPadding(this.#btf, member)) return [];
      if (member.name === "")
        return this.#fields(this.#btf.resolved(member.type), at + member.offset / 8, walk.deeper());
      if (isBitField(this.#btf, member)) return [[member.name, this.#bitField(member, at)]];
      return [[member.name, this.value(member.type, at + member.offset / 8, member.name, walk.deeper())]];
    });
  }

  #bitField(member: BtfMember, at: number): BtfValue {
    const type = this.#btf.resolved(member.type);
    const bits = bitsOf(this.#btf, member);
    const word = readBits(this.#bytes, at * 8 + bits.offset, bits.count, this.#btf.isLittleEndian);
    const value = this.#signed(word, bits.count, type.isSigned);
    if (type.kind === "enum" || type.kind === "enum64") return enumerator(type, value);
    if (type.meaning === "bool") return value !== 0n;
    return type.size > 6 ? value : Number(value);
  }

  #int(id: number, type: BtfType, bytes: Uint8Array): BtfValue {
    const isBig = networkOrder(this.#btf, id);
    let word = isBig ? bigEndian(bytes) : this.#word(bytes);
    if (type.meaning === "bool") return word === 0n ? false : word === 1n ? true : Number(word);
    let count = type.size * 8;
    if (type.bits !== undefined) {
      word = (word >> BigInt(type.bits.offset)) & ((1n << BigInt(type.bits.count)) - 1n);
      count = type.bits.count;
    }
    const value = this.#signed(word, count, type.isSigned);
    return type.size > 6 ? value : Number(value);
  }

  #float(bytes: Uint8Array): BtfValue {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length === 4) return view.getFloat32(0, this.#btf.isLittleEndian);
    if (bytes.length === 8) return view.getFloat64(0, this.#btf.isLittleEndian);
    return `0x${renderHex(bytes)}`;
  }

  #special(form: NonNullable<ReturnType<typeof specialForm>>, bytes: Uint8Array): BtfValue {
    switch (form) {
      case "ipv4":
        return renderIpv4(bytes);
      case "ipv6":
        return renderIpv6(bytes);
      case "mac":
        return renderMac(bytes);
      case "text":
        return findText(bytes) ?? `0x${renderHex(bytes)}`;
      case "bytes":
        return `0x${renderHex(bytes)}`;
    }
  }

  #signed(word: bigint, bits: number, isSigned: boolean): bigint {
    return isSigned ? BigInt.asIntN(bits, word) : word;
  }

  #word(bytes: Uint8Array): bigint {
    return bigEndian(this.#btf.isLittleEndian ? bytes.toReversed() : bytes);
  }

  #take(at: number, size: number): Uint8Array {
    if (!Number.isInteger(at) || at + size > this.#bytes.length) throw malformed("a field lies outside of its struct");
    return this.#bytes.subarray(at, at + size);
  }
}

export function bigEndian(bytes: Uint8Array): bigint {
  let word = 0n;
  for (const byte of bytes) word = (word << 8n) | BigInt(byte);
  return word;
}

function enumerator(type: BtfType, value: bigint): BtfValue {
  const name = type.members.find((member) => member.value === value)?.name;
  return name ?? (type.size > 6 ? value : Number(value));
}

/** Also a field of an int type of fewer bits at a bit of its own: how older compilers wrote bit fields. */
export function isBitField(btf: Btf, member: BtfMember): boolean {
  return member.bits !== undefined || member.offset % 8 !== 0 || btf.resolved(member.type).bits !== undefined;
}

export function bitsOf(btf: Btf, member: BtfMember): { readonly offset: number; readonly count: number } {
  const type = btf.resolved(member.type);
  const whole = btf.sizeOf(member.type) * 8;
  const count = member.bits ?? type.bits?.count ?? whole;
  if (count > 128) throw malformed(`field ${member.name} has ${count} bits`);
  return { offset: member.offset + (member.bits === undefined ? (type.bits?.offset ?? 0) : 0), count };
}

/** Bit 0 is the lowest of the first byte, or the highest where the order of bytes is the other one. */
function readBits(bytes: Uint8Array, from: number, count: number, isLittleEndian: boolean): bigint {
  if (from + count > bytes.length * 8) throw malformed("a bit field lies outside of its struct");
  let word = 0n;
  for (let bit = 0; bit < count; bit++) {
    const at = from + bit;
    const byte = bytes[at >> 3] ?? 0;
    if (isLittleEndian) word |= BigInt((byte >> (at & 7)) & 1) << BigInt(bit);
    else word = (word << 1n) | BigInt((byte >> (7 - (at & 7))) & 1);
  }
  return word;
}
