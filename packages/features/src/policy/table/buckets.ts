/**
 * Entries in buckets of lines: a bucket's first line is found by the hash, and one that is full goes on in
 * another line. No bucket has more than `bucketLines`, so that a search ends.
 */
import { policyLayout } from "../generated/policy.ts";

export const bucketLines = policyLayout.bucket_lines;

export interface Buckets {
  readonly mask: number;
  /** Buckets, and the lines behind them in which full ones go on. */
  readonly lineCount: number;
  /** Of each entry: line, counted from the first bucket, and place in it. */
  readonly lines: Uint32Array;
  readonly places: Uint8Array;
  /** Pairs: a line, and the one in which it goes on. */
  readonly links: Uint32Array;
}

/** `undefined` when a bucket would overflow. */
export function fillBuckets(hashes: Uint32Array, ways: number, bucketCount: number): Buckets | undefined {
  const counts = new Uint8Array(bucketCount);
  const last = new Uint32Array(bucketCount);
  const lines = new Uint32Array(hashes.length);
  const places = new Uint8Array(hashes.length);
  const links: number[] = [];
  const mask = bucketCount - 1;
  let lineCount = bucketCount;
  for (let entry = 0; entry < hashes.length; entry++) {
    const bucket = ((hashes[entry] as number) & mask) >>> 0;
    const count = counts[bucket] as number;
    const place = count % ways;
    if (count === 0) last[bucket] = bucket;
    else if (place === 0) {
      if (count === ways * bucketLines) return undefined;
      links.push(last[bucket] as number, lineCount);
      last[bucket] = lineCount++;
    }
    counts[bucket] = count + 1;
    lines[entry] = last[bucket] as number;
    places[entry] = place;
  }
  return { mask, lineCount, lines, places, links: Uint32Array.from(links) };
}

/** So many that a bucket is between a quarter and half full on average. */
export function bucketCountFor(entries: number, ways: number): number {
  let count = 1;
  while (count * ways < entries * 2) count *= 2;
  return count;
}
