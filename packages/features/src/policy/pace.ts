import { policyLayout, type Pace } from "./generated/policy.ts";
import type { Bandwidth } from "./policy.ts";

const nsOfByte = 8_000_000_000;
/** Of what a byte takes, as the kernel has it: with 20 bits of bytes it is multiplied within 64. */
const byteTimeBits = 43;
/** Longer than any node runs, and no sum of times comes near 64 bits. */
const mostBurstNs = 1n << 62n;

/**
 * Bytes at once. Where nobody says: half a second's, since TCP waits a fifth of one when it has lost too much, and no
 * less than what the kernel joins to one packet.
 */
export function burstOf({ bitsPerSecond, burstBytes }: Bandwidth): number {
  return burstBytes ?? Math.max(65_536, Math.ceil(bitsPerSecond / 16));
}

/** What a rate makes of bytes in the kernel: their time, too long by less than one part in 2^41. */
export function paceOf(bandwidth?: Bandwidth): Pace {
  if (bandwidth === undefined) return { byteTime: 0n, burstNs: 0n };
  const { bitsPerSecond } = bandwidth;
  const fraction = BigInt(Math.floor(Math.log2(bitsPerSecond / nsOfByte)) + byteTimeBits - 1);
  const byteTime = ceilOf(BigInt(nsOfByte) << fraction, BigInt(bitsPerSecond));
  const burstNs = ceilOf(BigInt(burstOf(bandwidth)) * BigInt(nsOfByte), BigInt(bitsPerSecond));
  return {
    byteTime: (byteTime << BigInt(policyLayout.pace_bits)) | fraction,
    burstNs: burstNs < mostBurstNs ? burstNs : mostBurstNs,
  };
}

function ceilOf(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}
