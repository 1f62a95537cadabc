import { renderHex } from "@bpfleet/base";
import type { MapDefinition, MapEntries } from "@bpfleet/kernel";
import { maskBytes, parsePrefix, renderPrefix } from "../../address/prefix.ts";
import { describe } from "../../schema/admit.ts";
import type { IssueList } from "../../schema/admit.ts";
import type { EBPFMapSpec } from "./schema.ts";

type Bytes =
  | { readonly ok: true; readonly bytes: Uint8Array; readonly warning?: string }
  /** `because` follows the field's name. */
  | { readonly ok: false; readonly because: string };

/** The entries of `initData` as the kernel takes them, with the index of each in `initData`. */
export interface EncodedEntries {
  readonly entries: MapEntries;
  readonly indexes: readonly number[];
}

/** Encodes `initData`; what cannot be encoded is told to `found` and left out. */
export function encodeEntries(spec: EBPFMapSpec, definition: MapDefinition, found: IssueList): EncodedEntries {
  const rows = new Map<string, { readonly key: Uint8Array; readonly value: Uint8Array; readonly index: number }>();
  const initData = definition.keySize > 0 && Array.isArray(spec.initData) ? spec.initData : [];
  for (const [index, written] of initData.entries()) {
    const path = `/spec/initData/${index}`;
    if (!found.isSound(path)) continue;
    const key = take(encodeKey(written.key, definition), `${path}/key`, found);
    const value = take(encodePlain(written.value, definition.valueSize), `${path}/value`, found);
    if (key === undefined || value === undefined) continue;
    if (isArray(definition) && readIndex(key) >= definition.maxEntries) {
      found.error(`${path}/key`, "invalid", `must be below maxEntries, ${definition.maxEntries}, is ${readIndex(key)}`);
      continue;
    }
    const name = renderHex(key);
    const earlier = rows.get(name);
    if (earlier !== undefined)
      found.error(`${path}/key`, "duplicate", `is the same key as spec.initData[${earlier.index}].key; keep one`);
    else rows.set(name, { key, value, index });
  }
  const kept = [...rows.values()];
  return { entries: pack(kept, definition), indexes: kept.map((row) => row.index) };
}

function take(encoded: Bytes, path: string, found: IssueList): Uint8Array | undefined {
  if (!encoded.ok) {
    found.error(path, "invalid", encoded.because);
    return undefined;
  }
  if (encoded.warning !== undefined) found.warning(path, "host-bits", encoded.warning);
  return encoded.bytes;
}

function encodeKey(written: string | number, definition: MapDefinition): Bytes {
  return definition.type === "lpm_trie"
    ? encodePrefixKey(written, definition.keySize)
    : encodePlain(written, definition.keySize);
}

/** `0x…`: a number in host order for the sizes of numbers, else the bytes in order. Decimal: always a number. */
function encodePlain(written: string | number, size: number): Bytes {
  const text = typeof written === "number" ? String(written) : written.trim();
  const hex = /^0[xX]([0-9a-fA-F]+)$/.exec(text)?.[1];
  if (hex !== undefined) {
    if (hex.length !== size * 2)
      return {
        ok: false,
        because: `must be ${byteCount(size)}, 0x and ${size * 2} digits; ${describe(text)} is ${digitCount(hex)}`,
      };
    return { ok: true, bytes: isNumberSize(size) ? numberBytes(BigInt(text), size) : hexBytes(hex) };
  }
  if (!/^-?\d+$/.test(text))
    return {
      ok: false,
      because: `must be 0x and ${size * 2} hexadecimal digits, or a decimal number, is ${describe(written)}`,
    };
  if (!isNumberSize(size))
    return {
      ok: false,
      because: `must be 0x and ${size * 2} hexadecimal digits: ${size} bytes are no number, is ${describe(written)}`,
    };
  const value = BigInt(text);
  const bits = BigInt(size * 8);
  if (value >= 1n << bits || value < -(1n << (bits - 1n)))
    return { ok: false, because: `must fit in ${byteCount(size)}, is ${describe(written)}` };
  return { ok: true, bytes: numberBytes(BigInt.asUintN(size * 8, value), size) };
}

/** An address or other data in network order with a prefix length: the key of an lpm_trie. */
function encodePrefixKey(written: string | number, keySize: number): Bytes {
  const dataSize = keySize - 4;
  if (typeof written === "number")
    return { ok: false, because: `must be an address with a prefix length, in quotes, is ${written}` };
  const text = written.trim();
  if (!/^0[xX]/.test(text)) return encodeAddressKey(text, dataSize);
  const [, hex = "", length = ""] = /^0[xX]([0-9a-fA-F]*)(?:\/(\d{1,4}))?$/.exec(text) ?? [];
  if (hex === "")
    return {
      ok: false,
      because: `must be 0x, ${dataSize * 2} hexadecimal digits and a prefix length like /24, is ${describe(text)}`,
    };
  if (hex.length !== dataSize * 2) {
    return {
      ok: false,
      because: `must have ${byteCount(dataSize)} before the slash, keySize ${keySize} less 4 for the length; ${describe(text)} has ${digitCount(hex)}`,
    };
  }
  const bits = length === "" ? dataSize * 8 : Number(length);
  if (bits > dataSize * 8)
    return { ok: false, because: `must have a prefix length of at most ${dataSize * 8}, has ${bits}` };
  return prefixKey(hexBytes(hex), bits, text);
}

function encodeAddressKey(text: string, dataSize: number): Bytes {
  const read = parsePrefix(text);
  if (!read.ok)
    return {
      ok: false,
      because: `must be an address with a prefix length, like 10.10.10.0/24 or 0x0a0a0a00/24, is ${describe(text)}: ${read.because}`,
    };
  const { prefix } = read;
  if (prefix.bytes.length !== dataSize) {
    const wanted = prefix.bytes.length + 4;
    return {
      ok: false,
      because: `is an IPv${prefix.family} address of ${prefix.bytes.length} bytes, but keySize ${dataSize + 4} leaves ${dataSize}; set keySize to ${wanted}`,
    };
  }
  const warning = read.hadHostBits
    ? { warning: `${text} has bits set past its length; read as ${renderPrefix(prefix)}` }
    : {};
  return { ok: true, bytes: withLength(prefix.bytes, prefix.length), ...warning };
}

function prefixKey(data: Uint8Array, bits: number, text: string): Bytes {
  const masked = maskBytes(data, bits);
  const isMasked = masked.some((byte, at) => byte !== data[at]);
  return {
    ok: true,
    bytes: withLength(masked, bits),
    ...(isMasked ? { warning: `${text} has bits set past its length; read as 0x${renderHex(masked)}/${bits}` } : {}),
  };
}

/** struct bpf_lpm_trie_key: the length in host order, then the data. */
function withLength(data: Uint8Array, bits: number): Uint8Array {
  const key = new Uint8Array(4 + data.length);
  new DataView(key.buffer).setUint32(0, bits, true);
  key.set(data, 4);
  return key;
}

function isArray(definition: MapDefinition): boolean {
  return definition.type === "array" || definition.type === "percpu_array";
}

function readIndex(key: Uint8Array): number {
  return new DataView(key.buffer, key.byteOffset).getUint32(0, true);
}

function isNumberSize(size: number): boolean {
  return size === 1 || size === 2 || size === 4 || size === 8;
}

/** Host order is little-endian on every machine that the product is built for. */
function numberBytes(value: bigint, size: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes.slice(0, size);
}

function hexBytes(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, at) => Number.parseInt(hex.slice(at * 2, at * 2 + 2), 16));
}

function digitCount(hex: string): string {
  return hex.length % 2 === 0 ? byteCount(hex.length / 2) : `${hex.length} ${hex.length === 1 ? "digit" : "digits"}`;
}

function byteCount(count: number): string {
  return count === 1 ? "1 byte" : `${count} bytes`;
}

function pack(
  rows: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[],
  definition: MapDefinition,
): MapEntries {
  const keys = new Uint8Array(rows.length * definition.keySize);
  const values = new Uint8Array(rows.length * definition.valueSize);
  for (const [at, row] of rows.entries()) {
    keys.set(row.key, at * definition.keySize);
    values.set(row.value, at * definition.valueSize);
  }
  return { count: rows.length, keys, values };
}
