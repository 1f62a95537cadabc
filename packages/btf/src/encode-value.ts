import { BtfError } from "./btf-error.ts";
import type { Btf } from "./btf.ts";
import type { BtfMember, BtfType } from "./btf-type.ts";
import { bitsOf, isBitField } from "./decode-value.ts";
import { isPadding, networkOrder } from "./layout.ts";
import { parseHexBytes, parseIpv4, parseIpv6, parseMac } from "./network-text.ts";
import { malformed } from "./read-types.ts";
import { specialForm, type SpecialForm } from "./special-form.ts";
import { Walk } from "./walk.ts";

/**
 * The bytes of a value as `decodeValue` gives it, or as people write it: numbers also as text (`"0x10"`, `"53"`),
 * enumerators by name or number, fields that are not named stay 0. Throws BtfError naming the place otherwise.
 */
export function encodeValue(btf: Btf, typeId: number, value: unknown, fieldName = ""): Uint8Array {
  const bytes = new Uint8Array(btf.sizeOf(typeId));
  new Encoder(btf, bytes).write(typeId, 0, value, { name: fieldName, path: fieldName || "value", walk: new Walk() });
  return bytes;
}

interface Place {
  readonly name: string;
  readonly path: string;
  readonly walk: Walk;
}

class Encoder {
  readonly #btf: Btf;
  readonly #bytes: Uint8Array;

  constructor(btf: Btf, bytes: Uint8Array) {
    this.#btf = btf;
    this.#bytes = bytes;
  }

  write(id: number, at: number, value: unknown, place: Place): void {
    const type = this.#btf.resolved(id);
    const special = specialForm(this.#btf, id, place.name);
    if (special !== undefined && typeof value === "string") {
      const bytes = parseSpecial(special, value, this.#btf.sizeOf(id));
      if (bytes !== undefined) return this.#put(at, bytes);
      if (type.kind !== "int")
        throw misfit(place, `${JSON.stringify(value)} is no ${named(special, this.#btf.sizeOf(id))}`);
    }
    switch (type.kind) {
      case "int":
        return this.#put(at, this.#int(id, type, value, place));
      case "pointer":
        return this.#put(at, this.#order(wordBytes(integer(value, 64, false, place), 8)));
      case "enum":
      case "enum64":
        return this.#put(at, this.#order(wordBytes(enumerator(type, value, place), type.size)));
      case "float":
        return this.#put(at, this.#float(type, value, place));
      case "array":
        return this.#array(type, at, value, place);
      case "struct":
      case "union":
        return this.#struct(type, at, value, place);
      case "section":
        return this.#section(type, at, value, place);
      case "variable":
        return this.write(type.type, at, value, { ...place, name: type.name });
      default:
        throw new BtfError("no-size", `encode ${place.path}: ${type.kind} ${type.name} has no value`);
    }
  }

  #array(type: BtfType, at: number, value: unknown, place: Place): void {
    const size = this.#btf.sizeOf(type.type);
    if (!Array.isArray(value)) throw misfit(place, `${show(value)} is no list of ${type.count}`);
    if (size === 0 && value.length === 0) return;
    if (value.length !== type.count) throw misfit(place, `${value.length} elements, its type has ${type.count}`);
    for (const [index, item] of value.entries()) {
      const path = `${place.path}[${index}]`;
      this.write(type.type, at + index * size, item, { name: place.name, path, walk: place.walk.deeper() });
    }
  }

  #struct(type: BtfType, at: number, value: unknown, place: Place): void {
    const fields = record(value, place, type);
    const known = new Set<string>();
    this.#members(type, at, fields, known, place);
    const strange = Object.keys(fields).find((name) => !known.has(name));
    if (strange !== undefined) throw misfit(place, `there is no field ${strange}; it has ${[...known].join(", ")}`);
  }

  #members(type: BtfType, at: number, fields: Record<string, unknown>, known: Set<string>, place: Place): void {
    for (const member of type.members) {
      const { name } = member;
      const deeper = { name, path: `${place.path}.${name}`, walk: place.walk.deeper() };
      if (isPadding(this.#btf, member)) continue;
      if (name === "") {
        const inner = this.#btf.resolved(member.type);
        this.#members(inner, at + member.offset / 8, fields, known, { ...place, walk: place.walk.deeper() });
        continue;
      }
      known.add(name);
      if (!Object.hasOwn(fields, name)) continue;
      if (isBitField(this.#btf, member)) this.#bitField(member, at, fields[name], deeper);
      else this.write(member.type, at + member.offset / 8, fields[name], deeper);
    }
  }

  #section(type: BtfType, at: number, value: unknown, place: Place): void {
    const fields = record(value, place, type);
    for (const member of type.members) {
      const { name, type: id } = this.#btf.get(member.type);
      if (!Object.hasOwn(fields, name)) continue;
      this.write(id, at + member.offset, fields[name], { name, path: name, walk: place.walk.deeper() });
    }
  }

  #bitField(member: BtfMember, at: number, value: unknown, place: Place): void {
    const type = this.#btf.resolved(member.type);
    const { offset, count } = bitsOf(this.#btf, member);
    const isEnum = type.kind === "enum" || type.kind === "enum64";
    const found = isEnum ? enumerator(type, value, place) : integer(value, count, type.isSigned, place);
    const word = BigInt.asUintN(count, found);
    if (at * 8 + offset + count > this.#bytes.length * 8) throw malformed("a bit field lies outside of its struct");
    for (let bit = 0; bit < count; bit++) {
      const to = at * 8 + offset + bit;
      const from = this.#btf.isLittleEndian ? bit : count - 1 - bit;
      const mask = 1 << (this.#btf.isLittleEndian ? to & 7 : 7 - (to & 7));
      const isSet = ((word >> BigInt(from)) & 1n) === 1n;
      this.#bytes[to >> 3] = isSet ? (this.#bytes[to >> 3] ?? 0) | mask : (this.#bytes[to >> 3] ?? 0) & ~mask;
    }
  }

  #int(id: number, type: BtfType, value: unknown, place: Place): Uint8Array {
    const count = type.bits?.count ?? type.size * 8;
    const word = BigInt.asUintN(count, integer(value, count, type.isSigned, place)) << BigInt(type.bits?.offset ?? 0);
    const bytes = wordBytes(word, type.size);
    return networkOrder(this.#btf, id) ? bytes : this.#order(bytes);
  }

  #float(type: BtfType, value: unknown, place: Place): Uint8Array {
    const view = new DataView(new ArrayBuffer(type.size));
    if (type.size !== 4 && type.size !== 8) {
      const bytes = typeof value === "string" ? parseHexBytes(value) : undefined;
      if (bytes?.length !== type.size) throw misfit(place, `write ${type.size} bytes as 0x…`);
      return bytes;
    }
    if (typeof value !== "number") throw misfit(place, `${show(value)} is no number`);
    if (type.size === 4) view.setFloat32(0, value, this.#btf.isLittleEndian);
    else view.setFloat64(0, value, this.#btf.isLittleEndian);
    return new Uint8Array(view.buffer);
  }

  /** Most significant first → as memory has it. */
  #order(bytes: Uint8Array): Uint8Array {
    return this.#btf.isLittleEndian ? bytes.toReversed() : bytes;
  }

  #put(at: number, bytes: Uint8Array): void {
    if (!Number.isInteger(at) || at + bytes.length > this.#bytes.length)
      throw malformed("a field lies outside of its struct");
    this.#bytes.set(bytes, at);
  }
}

function parseSpecial(form: SpecialForm, text: string, size: number): Uint8Array | undefined {
  const bytes = parseForm(form, text);
  return bytes?.length === size ? bytes : form === "text" ? padded(bytes, size) : undefined;
}

function parseForm(form: SpecialForm, text: string): Uint8Array | undefined {
  switch (form) {
    case "ipv4":
      return parseIpv4(text);
    case "ipv6":
      return parseIpv6(text);
    case "mac":
      return parseMac(text);
    case "bytes":
      return parseHexBytes(text);
    case "text":
      if (/^0x/i.test(text)) return parseHexBytes(text);
      return /^[\x20-\x7e]*$/.test(text) ? Uint8Array.from(text, (character) => character.charCodeAt(0)) : undefined;
  }
}

function padded(bytes: Uint8Array | undefined, size: number): Uint8Array | undefined {
  if (bytes === undefined || bytes.length > size) return undefined;
  const whole = new Uint8Array(size);
  whole.set(bytes);
  return whole;
}

function named(form: SpecialForm, size: number): string {
  if (form === "text") return `text of at most ${size} printable characters`;
  if (form === "bytes") return `${size} bytes as 0x…`;
  return { ipv4: "IPv4 address", ipv6: "IPv6 address", mac: "MAC address" }[form];
}

function integer(value: unknown, bits: number, isSigned: boolean, place: Place): bigint {
  const found = toBigint(value);
  if (found === undefined) throw misfit(place, `${show(value)} is no whole number`);
  const fits = isSigned ? BigInt.asIntN(bits, found) : BigInt.asUintN(bits, found);
  if (fits !== found) throw misfit(place, `${found} does not fit in ${bits} bits${isSigned ? "" : " without sign"}`);
  return found;
}

function toBigint(value: unknown): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  if (typeof value !== "string" || !/^(?:0x[0-9a-fA-F]+|-?\d+)$/.test(value)) return undefined;
  return BigInt(value);
}

function enumerator(type: BtfType, value: unknown, place: Place): bigint {
  const found = type.members.find(({ name }) => name === value)?.value;
  if (found !== undefined) return found;
  if (typeof value === "string" && toBigint(value) === undefined) {
    const names = type.members.slice(0, 12).map(({ name }) => name);
    throw misfit(
      place,
      `there is no ${value}; it has ${names.join(", ")}${names.length < type.members.length ? ", …" : ""}`,
    );
  }
  return integer(value, type.size * 8, type.isSigned, place);
}

function record(value: unknown, place: Place, type: BtfType): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw misfit(place, `${show(value)} is no ${type.kind} ${type.name || ""}`.trimEnd());
}

/** Most significant first. */
function wordBytes(word: bigint, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, at) => Number(BigInt.asUintN(8, word >> BigInt((size - 1 - at) * 8))));
}

function misfit(place: Place, why: string): BtfError {
  return new BtfError("misfit", `encode ${place.path}: ${why}`);
}

function show(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  return (JSON.stringify(value) ?? String(value)).slice(0, 60);
}
