import type { Prefix } from "../../filter/intent.ts";

/**
 * An address as text that sorts as addresses do: the family, then words of 16 bits. All addresses of a prefix stand
 * side by side, the prefix's own first.
 */
export type AddressKey = string;

const family4 = "4";
const family6 = "6";

/** The longest that `keyOfPrefix` of this address can be. */
export function widthOf(key: AddressKey): number {
  return key.startsWith(family4) ? 32 : 128;
}

/** `undefined` for what is no address; a length or a zone behind it is left off. */
export function parseAddressKey(text: string): AddressKey | undefined {
  const [address = ""] = text.split(/[/%]/, 1);
  if (!address.includes(":")) return parseIpv4(address);
  const halves = address.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => parseGroups(half));
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const words = [...head, ...Array.from({ length: missing }, () => 0), ...(tail ?? [])];
  const isMapped = words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff;
  return isMapped ? family4 + String.fromCharCode(...words.slice(6)) : family6 + String.fromCharCode(...words);
}

function parseIpv4(text: string): AddressKey | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return family4 + String.fromCharCode(value >>> 16, value & 0xffff);
}

function parseGroups(text: string): number[] | undefined {
  if (text === "") return [];
  const words: number[] = [];
  for (const part of text.split(":")) {
    if (part.includes(".")) {
      const embedded = parseIpv4(part);
      if (embedded === undefined) return undefined;
      words.push(embedded.charCodeAt(1), embedded.charCodeAt(2));
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      words.push(Number.parseInt(part, 16));
    }
  }
  return words;
}

export function keyOfPrefix({ family, bytes }: Prefix): AddressKey {
  const words: number[] = [];
  for (let at = 0; at < bytes.length; at += 2) words.push(((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
  return (family === 4 ? family4 : family6) + String.fromCharCode(...words);
}

/** The last address of the prefix that starts at `key`. */
export function lastOfPrefix(key: AddressKey, length: number): AddressKey {
  const words: number[] = [];
  for (let at = 1; at < key.length; at++) {
    const host = Math.min(16, Math.max(0, at * 16 - length));
    words.push(key.charCodeAt(at) | (0xffff >> (16 - host)));
  }
  return key.slice(0, 1) + String.fromCharCode(...words);
}

/** 16 bytes in network order; IPv4 as ::ffff:a.b.c.d. */
export function bytesOfKey(key: AddressKey): Uint8Array {
  const bytes = new Uint8Array(16);
  const from = key.startsWith(family4) ? 12 : 0;
  if (from > 0) bytes.set([0xff, 0xff], 10);
  for (let at = 1; at < key.length; at++) {
    const word = key.charCodeAt(at);
    bytes[from + at * 2 - 2] = word >> 8;
    bytes[from + at * 2 - 1] = word & 0xff;
  }
  return bytes;
}

/** fe80::/10: whoever is on the link, a pod as well as a router. */
export const linkPrefix = { key: `${family6}\ufe80${"\0".repeat(7)}`, length: 10 } as const;

/** A prefix of such addresses alone. */
export function isOfLinks({ key, length }: { readonly key: AddressKey; readonly length: number }): boolean {
  return key.startsWith(family6) && length >= linkPrefix.length && (key.charCodeAt(1) & 0xffc0) === 0xfe80;
}

/** Addresses that mean somebody else on every link, or in every pod: nobody is known by them. */
export function isOfOneLink(key: AddressKey): boolean {
  const first = key.charCodeAt(1);
  if (key.startsWith(family4)) return first >> 8 === 127 || first >> 8 === 0;
  return isOfLinks({ key, length: 128 }) || key === loopback6 || key === unspecified6;
}

const loopback6 = `${family6}${"\0".repeat(7)}\u0001`;
const unspecified6 = `${family6}${"\0".repeat(8)}`;
