/* Addresses as bits, for the reference: it shares nothing with what reads them elsewhere. */

export function isWithin(address: string, prefix: { readonly bytes: Uint8Array; readonly length: number }): boolean {
  const bits = bitsOfBytes(prefix.bytes);
  const own = bitsOf(address);
  return own.length === bits.length && own.startsWith(bits.slice(0, prefix.length));
}

const knownBytes = new WeakMap<Uint8Array, string>();

/** 32 or 128 of them. */
export function bitsOfBytes(bytes: Uint8Array): string {
  const before = knownBytes.get(bytes);
  if (before !== undefined) return before;
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  knownBytes.set(bytes, bits);
  return bits;
}

const known = new Map<string, string>();

/** An address as its bits: 32 or 128 of them. */
export function bitsOf(address: string): string {
  const before = known.get(address);
  if (before !== undefined) return before;
  const bits = address.includes(":") ? bitsOfIpv6(address) : bitsOfIpv4(address);
  if (bits.length !== 32 && bits.length !== 128) throw new RangeError(`${address} is no address`);
  if (known.size > 100_000) known.clear();
  known.set(address, bits);
  return bits;
}

function bitsOfIpv4(address: string): string {
  return address
    .split(".")
    .map((part) => Number(part).toString(2).padStart(8, "0"))
    .join("");
}

function bitsOfIpv6(address: string): string {
  const [head = "", tail] = address.split("::");
  const words = (text: string): string[] =>
    withoutDots(text)
      .split(":")
      .filter((word) => word !== "");
  const [first, last] = [words(head), words(tail ?? "")];
  const missing = tail === undefined ? 0 : 8 - first.length - last.length;
  return [...first, ...Array.from({ length: missing }, () => "0"), ...last]
    .map((word) => Number.parseInt(word, 16).toString(2).padStart(16, "0"))
    .join("");
}

/** `::ffff:10.0.0.1` in words alone. */
function withoutDots(text: string): string {
  const [, start = "", ipv4] = /^(.*:|)(\d+(?:\.\d+){3})$/.exec(text) ?? [];
  if (ipv4 === undefined) return text;
  const bits = bitsOfIpv4(ipv4);
  return start + [bits.slice(0, 16), bits.slice(16)].map((word) => Number.parseInt(word, 2).toString(16)).join(":");
}
