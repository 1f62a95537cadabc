import { policyLayout } from "../generated/policy.ts";
import type { ClassedPrefix } from "./policy-table.ts";

/** Of 128: an IPv4 address of no length at all. */
export const mappedBits = 96;

/** An IPv4 address as IPv6 ones are written: ::ffff:0:0/96. */
export function isMapped(bytes: Uint8Array): boolean {
  for (let at = 0; at < 10; at++) if (bytes[at] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** Four words of 32 bits, the highest first, of which only `length` bits stay. */
export function wordsOf(bytes: Uint8Array, length: number, into: Uint32Array, at: number): void {
  for (let word = 0; word < 4; word++) {
    const byte = word * 4;
    const value =
      ((bytes[byte] as number) << 24) |
      ((bytes[byte + 1] as number) << 16) |
      ((bytes[byte + 2] as number) << 8) |
      (bytes[byte + 3] as number);
    const bits = length - word * 32;
    into[at + word] = bits >= 32 ? value : bits <= 0 ? 0 : value & (-1 << (32 - bits));
  }
}

/** The lengths that occur in each family, longest first, without 128, ended as the kernel's reader wants it. */
export function lengthLists(prefixes: readonly ClassedPrefix[]): { ipv4: Uint8Array; ipv6: Uint8Array } {
  const seen = { ipv4: new Set<number>(), ipv6: new Set<number>() };
  for (const { bytes, length } of prefixes) {
    if (length < 128) seen[length >= mappedBits && isMapped(bytes) ? "ipv4" : "ipv6"].add(length);
  }
  const list = (lengths: ReadonlySet<number>): Uint8Array =>
    Uint8Array.from([...[...lengths].toSorted((a, b) => b - a), policyLayout.no_length]);
  return { ipv4: list(seen.ipv4), ipv6: list(seen.ipv6) };
}
