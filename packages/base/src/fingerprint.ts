import { encodeUtf8, renderHex } from "./bytes.ts";

/**
 * 56-bit fingerprint as 14 hexadecimal digits: two murmur3 lanes over the same bytes. It names
 * generations of our own plans; it is no defence against somebody who wants a collision.
 */
export function fingerprint(data: string | Uint8Array): string {
  const bytes = typeof data === "string" ? encodeUtf8(data) : data;
  const high = murmur3(bytes, 0x9747b28c).toString(16).padStart(8, "0");
  const low = murmur3(bytes, 0x3c6ef372).toString(16).padStart(8, "0");
  return (high + low).slice(0, 14);
}

/** MurmurHash3 x86_32 (Austin Appleby, public domain). */
function murmur3(bytes: Uint8Array, seed: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks = bytes.length & ~3;
  let hash = seed;
  for (let at = 0; at < blocks; at += 4) {
    hash ^= scramble(view.getUint32(at, true));
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = bytes.length - 1; at >= blocks; at--) tail = (tail << 8) | (bytes[at] ?? 0);
  if (bytes.length > blocks) hash ^= scramble(tail);
  hash ^= bytes.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function scramble(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}

/** JSON with sorted keys; bigint as a decimal string with `n`, bytes as `0x…`: equal values, equal text. */
export function canonicalJson(value: unknown): string {
  if (typeof value === "bigint") return `"${value}n"`;
  if (value instanceof Uint8Array) return `"0x${renderHex(value)}"`;
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`);
    return `{${fields.join(",")}}`;
  }
  return JSON.stringify(value) ?? "null";
}
