import type { Bandwidth } from "./policy.ts";

/**
 * Bytes at once. Where nobody says: half a second's, since TCP waits a fifth of one when it has lost too much, and no
 * less than what the kernel joins to one packet.
 */
export function burstOf({ bitsPerSecond, burstBytes }: Bandwidth): number {
  return burstBytes ?? Math.max(65_536, Math.ceil(bitsPerSecond / 16));
}
