import { bytesOfKey, parseAddressKey } from "../compile/address-key.ts";
import type { Prefix } from "../../filter/intent.ts";

export type Family = 4 | 6;

/** Addresses that no prefix tells apart: all from the first to the last. */
export interface AddressPiece {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

const widths = { 4: 32n, 6: 128n } as const;

/**
 * The address space cut where any of the prefixes begins or ends, without what is somebody else on each link. The
 * pieces cover everything else.
 */
export function cutAddresses(prefixes: readonly Prefix[]): readonly AddressPiece[] {
  return ([4, 6] as const).flatMap((family) => {
    const top = 1n << widths[family];
    const cuts = new Set(usable[family].flatMap(([from, to]) => [from, to + 1n]));
    for (const { bytes, length } of prefixes.filter((prefix) => prefix.family === family)) {
      const size = 1n << (widths[family] - BigInt(length));
      const first = (numberOf(bytes) / size) * size;
      cuts.add(first).add(first + size);
    }
    const sorted = [...cuts].filter((cut) => cut >= 0n && cut <= top).toSorted((a, b) => (a < b ? -1 : 1));
    return sorted.flatMap((first, at) => {
      const next = sorted[at + 1];
      return next !== undefined && isUsable(family, first) ? [{ family, first, last: next - 1n }] : [];
    });
  });
}

/** 0.0.0.0/8, 127.0.0.0/8, ::, ::1, IPv4 in IPv6 and link-local addresses are nobody's in particular. */
const usable: Readonly<Record<Family, readonly (readonly [bigint, bigint])[]>> = {
  4: [
    [0x0100_0000n, 0x7eff_ffffn],
    [0x8000_0000n, 0xffff_ffffn],
  ],
  6: [
    [2n, 0xffff_0000_0000n - 1n],
    [0x1_0000_0000_0000n, (0xfe80n << 112n) - 1n],
    [0xfec0n << 112n, (1n << 128n) - 1n],
  ],
};

function isUsable(family: Family, address: bigint): boolean {
  return usable[family].some(([from, to]) => from <= address && address <= to);
}

export function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** Family and number; `undefined` for what is no address. */
export function readAddress(text: string): { readonly family: Family; readonly number: bigint } | undefined {
  const key = parseAddressKey(text);
  if (key === undefined) return undefined;
  const family = key.startsWith("4") ? 4 : 6;
  const number = numberOf(bytesOfKey(key));
  return { family, number: family === 4 ? number & 0xffff_ffffn : number };
}

export function renderNumber(family: Family, number: bigint): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (number >> shift) & 255n).join(".");
  const words = Array.from({ length: 8 }, (_, at) => ((number >> BigInt(112 - at * 16)) & 0xffffn).toString(16));
  const runs = [...words.join(":").matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].toSorted((a, b) => b[0].length - a[0].length);
  const [longest] = runs;
  if (longest === undefined) return words.join(":");
  const text = words.join(":");
  return `${text.slice(0, longest.index)}::${text.slice(longest.index + longest[0].length).replace(/^:/, "")}`;
}

/** As few prefixes as hold the pieces, which lie side by side or not. */
export function renderPieces(pieces: readonly AddressPiece[]): readonly string[] {
  return ([4, 6] as const).flatMap((family) => {
    const sorted = pieces.filter((piece) => piece.family === family).toSorted((a, b) => (a.first < b.first ? -1 : 1));
    const ranges: { first: bigint; last: bigint }[] = [];
    for (const { first, last } of sorted) {
      const before = ranges.at(-1);
      if (before !== undefined && before.last + 1n === first) before.last = last;
      else ranges.push({ first, last });
    }
    return ranges.map(({ first, last }) => renderRange(family, first, last));
  });
}

function renderRange(family: Family, first: bigint, last: bigint): string {
  const size = last - first + 1n;
  const isPrefix = (size & (size - 1n)) === 0n && first % size === 0n;
  if (!isPrefix) return `${renderNumber(family, first)}-${renderNumber(family, last)}`;
  const length = widths[family] - BigInt(size.toString(2).length - 1);
  return length === widths[family] ? renderNumber(family, first) : `${renderNumber(family, first)}/${length}`;
}

/** Whether the pieces are all addresses that somebody may have. */
export function isWholeSpace(pieces: readonly AddressPiece[]): boolean {
  return renderPieces(pieces).join() === renderPieces(cutAddresses([])).join();
}

export function isWithinPieces(pieces: readonly AddressPiece[], address: string): boolean {
  const read = readAddress(address);
  return pieces.some(
    ({ family, first, last }) => read?.family === family && first <= read.number && read.number <= last,
  );
}
