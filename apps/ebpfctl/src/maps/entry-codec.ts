import { renderHex } from "@bpfleet/base";
import { Btf, BtfError, decodeValue, encodeValue, renderType, type BtfValue } from "@bpfleet/btf";
import type { MapReading } from "@bpfleet/daemon/client";
import { isArrayLike } from "@bpfleet/kernel";
import { Failure } from "../failure.ts";
import { parseAddress, renderAddress } from "../packet/address.ts";
import { parseJson } from "./json.ts";

interface Part {
  readonly what: "key" | "value";
  readonly size: number;
  readonly typeId: number;
}

export interface Entry {
  readonly key: BtfValue;
  /** One, or one per CPU. */
  readonly values: readonly BtfValue[];
}

/** Keys and values of one map, in both directions: by their types where these are known, else as numbers or bytes. */
export class EntryCodec {
  readonly #reading: MapReading;
  readonly #btf: Btf | undefined;
  readonly #key: Part;
  readonly #value: Part;

  constructor(reading: MapReading) {
    const { definition, types } = reading;
    this.#reading = reading;
    this.#btf = types === undefined ? undefined : parseBtf(types.btf);
    this.#key = this.#part("key", definition.keySize, types?.keyTypeId ?? 0);
    this.#value = this.#part("value", definition.valueSize, types?.valueTypeId ?? 0);
  }

  /** C, or how many bytes. */
  describe(what: "key" | "value"): string {
    const { size, typeId } = what === "key" ? this.#key : this.#value;
    return this.#btf === undefined || typeId === 0 ? `${size} bytes` : renderType(this.#btf, typeId);
  }

  entries({ entries: { count, keys, values }, definition, cpus }: MapReading): Entry[] {
    const { keySize, valueSize } = definition;
    const stride = cpus === 0 ? valueSize : Math.ceil(valueSize / 8) * 8;
    const each = Math.max(1, cpus);
    return Array.from({ length: count }, (_, at) => ({
      key: this.#decodeKey(keys.subarray(at * keySize, (at + 1) * keySize)),
      values: Array.from({ length: each }, (__, cpu) => {
        const from = (at * each + cpu) * stride;
        return this.#decode(this.#value, values.subarray(from, from + valueSize));
      }),
    }));
  }

  encodeKey(text: string): Uint8Array {
    const address = this.#isPrefix ? parsePrefix(text, this.#key.size) : undefined;
    return address ?? this.#encode(this.#key, text);
  }

  encodeValue(text: string): Uint8Array {
    return this.#encode(this.#value, text);
  }

  get #isPrefix(): boolean {
    const { type, keySize } = this.#reading.definition;
    return type === "lpm_trie" && (keySize === 8 || keySize === 20);
  }

  #part(what: Part["what"], size: number, typeId: number): Part {
    try {
      if (this.#btf !== undefined && typeId !== 0 && this.#btf.sizeOf(typeId) === size) return { what, size, typeId };
    } catch (error) {
      if (!(error instanceof BtfError)) throw error;
    }
    return { what, size, typeId: 0 };
  }

  #decodeKey(bytes: Uint8Array): BtfValue {
    return (this.#isPrefix ? renderPrefix(bytes) : undefined) ?? this.#decode(this.#key, bytes);
  }

  #decode(part: Part, bytes: Uint8Array): BtfValue {
    if (this.#btf !== undefined && part.typeId !== 0) return decodeValue(this.#btf, part.typeId, bytes);
    const number = isNumber(part.size) ? fromLittle(bytes) : undefined;
    if (number === undefined) return `0x${renderHex(bytes)}`;
    return part.size === 8 ? number : Number(number);
  }

  #encode(part: Part, text: string): Uint8Array {
    const { what, size, typeId } = part;
    if (this.#btf !== undefined && typeId !== 0) {
      try {
        return encodeValue(this.#btf, typeId, parseJson(text)?.value ?? text, what);
      } catch (cause) {
        if (!(cause instanceof BtfError)) throw cause;
        throw new Failure(`${cause.message}; a ${what} of this map is ${renderType(this.#btf, typeId)}`, { cause });
      }
    }
    const bytes = this.#plain(size, text);
    if (bytes !== undefined) return bytes;
    const forms = isNumber(size) ? `a number of ${size} bytes, or bytes as 0x…` : `${size} bytes as 0x…`;
    throw new Failure(`encode ${what}: ${JSON.stringify(text)} is not ${forms}`);
  }

  #plain(size: number, text: string): Uint8Array | undefined {
    if (isNumber(size) && /^(?:0x[0-9a-fA-F]+|\d+)$/.test(text)) return toLittle(BigInt(text), size);
    if (isArrayLike(this.#reading.definition.type) && size === 4) return undefined;
    const address = parseAddress(text)?.bytes;
    if (address?.length === size) return address;
    const digits = /^(?:0x)?((?:[0-9a-fA-F]{2}[\s:]?)*)$/.exec(text.trim())?.[1]?.replace(/[\s:]/g, "");
    return digits?.length === size * 2 ? Uint8Array.from(Buffer.from(digits, "hex")) : undefined;
  }
}

/** One value for all CPUs: numbers are added up, anything else is shown when it is the same everywhere. */
export function sumValues(values: readonly BtfValue[]): BtfValue {
  const [first, ...rest] = values;
  if (first === undefined || rest.length === 0) return first ?? [];
  if (values.every((value) => typeof value === "number")) return values.reduce((sum, value) => sum + value, 0);
  if (values.every((value) => typeof value === "bigint")) return values.reduce((sum, value) => sum + value, 0n);
  if (values.every(isList)) return (values[0] ?? []).map((_, at) => sumValues(values.map((each) => each[at] ?? 0)));
  if (values.every(isRecord)) {
    const names = Object.keys(values[0] ?? {});
    return Object.fromEntries(names.map((name) => [name, sumValues(values.map((each) => each[name] ?? 0))]));
  }
  return values.every((value) => value === first) ? first : values;
}

function isList(value: BtfValue): value is readonly BtfValue[] {
  return Array.isArray(value);
}

export function isRecord(value: BtfValue): value is { readonly [name: string]: BtfValue } {
  return typeof value === "object" && !Array.isArray(value);
}

function parseBtf(bytes: Uint8Array): Btf | undefined {
  try {
    return Btf.parse(bytes);
  } catch (error) {
    if (error instanceof BtfError) return undefined;
    throw error;
  }
}

function isNumber(size: number): boolean {
  return size === 1 || size === 2 || size === 4 || size === 8;
}

function fromLittle(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function toLittle(number: bigint, size: number): Uint8Array | undefined {
  if (BigInt.asUintN(size * 8, number) !== number) return undefined;
  return Uint8Array.from({ length: size }, (_, at) => Number((number >> BigInt(at * 8)) & 255n));
}

/** struct bpf_lpm_trie_key over an address; `undefined` where the length is that of no address. */
function renderPrefix(bytes: Uint8Array): string | undefined {
  const length = Number(fromLittle(bytes.subarray(0, 4)));
  const address = bytes.subarray(4);
  if (length > address.length * 8) return undefined;
  return `${renderAddress({ family: address.length === 4 ? 4 : 6, bytes: address })}/${length}`;
}

/** Bits behind the length must be 0 in what people write as well: they are cut. */
function parsePrefix(text: string, size: number): Uint8Array | undefined {
  const [host = "", length, ...more] = text.split("/");
  const address = parseAddress(host)?.bytes;
  if (address === undefined || more.length > 0 || address.length !== size - 4) return undefined;
  const bits = length === undefined ? address.length * 8 : /^\d{1,3}$/.test(length) ? Number(length) : NaN;
  if (!(bits <= address.length * 8)) return undefined;
  const cut = address.map((byte, at) => byte & (0xff << Math.max(0, 8 - Math.max(0, bits - at * 8))) & 0xff);
  const key = new Uint8Array(size);
  key.set(toLittle(BigInt(bits), 4) ?? []);
  key.set(cut, 4);
  return key;
}
