import { KernelError } from "@bpfleet/base";
import type { CounterPair } from "./action.ts";
import type { KernelPort, MapIdentity } from "./port.ts";
import type { MapEntries } from "./specs.ts";

/** Bytes of one entry: hits {u64 packets, u64 bytes} per CPU, base {u64 rule id, u64 packets, u64 bytes}. */
const hitSize = 16;
const baseSize = 24;
const complete = 1n;

interface Count {
  readonly ruleId: bigint;
  readonly packets: bigint;
  readonly bytes: bigint;
}

interface PairReading {
  readonly baseId: number;
  readonly isComplete: boolean;
  /** By rule index. */
  readonly hits: readonly Count[];
  readonly base: readonly Count[];
}

/**
 * Sets the base of `to` to everything that was counted before it. It sets and never adds, so that
 * doing it twice, or again after being stopped half-way, counts nothing twice.
 */
export async function carryCounters(port: KernelPort, from: readonly CounterPair[], to: CounterPair): Promise<void> {
  const earlier: PairReading[] = [];
  for (const pair of from) earlier.push(await readPair(port, pair));
  const present = await readPair(port, to);
  const base = carriedBase(earlier, present);
  const [noRule, ...rules] = base;
  if (noRule === undefined) return;
  await port.writeMap(to.base, packBase(rules, 1), noEntries);
  await port.writeMap(to.base, packBase([{ ...noRule, ruleId: complete }], 0), noEntries);
}

const noEntries: MapEntries = { count: 0, keys: new Uint8Array(0), values: new Uint8Array(0) };

/**
 * A complete base contains all pairs that are older. So what counts is the newest complete pair, and
 * the hits of those that came after it. When `present` is itself among the older ones (an edit was
 * taken back before the old pair was removed), its own hits are in there already.
 */
export function carriedBase(earlier: readonly PairReading[], present: PairReading): readonly Count[] {
  const ordered = earlier.toSorted((a, b) => a.baseId - b.baseId);
  const newest = ordered.findLastIndex((pair) => pair.isComplete);
  const parts: readonly Count[][] = [
    ...(newest >= 0 ? [[...(ordered[newest]?.base ?? [])]] : []),
    ...ordered.slice(Math.max(newest, 0)).map((pair) => [...pair.hits]),
  ];
  const sums = new Map<bigint, { packets: bigint; bytes: bigint }>();
  for (const count of parts.flatMap((counts) => counts.filter((each, index) => !isUnused(each, index)))) {
    const sum = sums.get(count.ruleId) ?? { packets: 0n, bytes: 0n };
    sums.set(count.ruleId, { packets: sum.packets + count.packets, bytes: sum.bytes + count.bytes });
  }
  const isContained = newest >= 0 && present.baseId < (ordered[newest]?.baseId ?? 0);
  return present.base.map((entry, index) => {
    if (isUnused(entry, index)) return entry;
    const sum = sums.get(entry.ruleId) ?? { packets: 0n, bytes: 0n };
    const own = isContained ? present.hits[index] : undefined;
    return {
      ruleId: entry.ruleId,
      packets: notBelowZero(sum.packets - (own?.packets ?? 0n)),
      bytes: notBelowZero(sum.bytes - (own?.bytes ?? 0n)),
    };
  });
}

/** A map may be longer than its list of rules. */
function isUnused({ ruleId }: Count, index: number): boolean {
  return index > 0 && ruleId === 0n;
}

async function readPair(port: KernelPort, pair: CounterPair): Promise<PairReading> {
  const base = await readEntries(port, pair.base);
  const hits = await readEntries(port, pair.hits);
  const marker = base.get(0)?.[0] ?? 0n;
  const baseCounts: Count[] = [];
  const hitCounts: Count[] = [];
  for (const [index, words] of [...base].toSorted(([a], [b]) => a - b)) {
    const ruleId = index === 0 ? 0n : (words[0] ?? 0n);
    baseCounts.push({ ruleId, packets: words[1] ?? 0n, bytes: words[2] ?? 0n });
    hitCounts.push({ ruleId, ...sumHits(hits.get(index) ?? []) });
  }
  return {
    baseId: pair.baseId ?? Number.MAX_SAFE_INTEGER,
    isComplete: marker === complete,
    hits: hitCounts,
    base: baseCounts,
  };
}

/** Over all CPUs: packets and bytes alternate. */
function sumHits(words: readonly bigint[]): { packets: bigint; bytes: bigint } {
  let packets = 0n;
  let bytes = 0n;
  for (let at = 0; at + 1 < words.length; at += hitSize / 8) {
    packets += words[at] ?? 0n;
    bytes += words[at + 1] ?? 0n;
  }
  return { packets, bytes };
}

/** Index → the value as 64-bit words. */
async function readEntries(port: KernelPort, identity: MapIdentity): Promise<Map<number, bigint[]>> {
  const entries = await port.readMap(identity);
  if (entries === undefined) {
    throw new KernelError(`read map ${identity.key}: it is gone`, {
      code: "stale",
      call: "BPF_OBJ_GET",
      retry: "backoff",
    });
  }
  const found = new Map<number, bigint[]>();
  const keys = new DataView(entries.keys.buffer, entries.keys.byteOffset, entries.keys.byteLength);
  const values = new DataView(entries.values.buffer, entries.values.byteOffset, entries.values.byteLength);
  const stride = entries.count === 0 ? 0 : entries.values.length / entries.count;
  for (let at = 0; at < entries.count; at++) {
    const words: bigint[] = [];
    for (let offset = 0; offset + 8 <= stride; offset += 8) words.push(values.getBigUint64(at * stride + offset, true));
    found.set(keys.getUint32(at * 4, true), words);
  }
  return found;
}

function packBase(counts: readonly Count[], firstIndex: number): MapEntries {
  const keys = new Uint8Array(counts.length * 4);
  const values = new Uint8Array(counts.length * baseSize);
  const keyView = new DataView(keys.buffer);
  const valueView = new DataView(values.buffer);
  for (const [at, count] of counts.entries()) {
    keyView.setUint32(at * 4, firstIndex + at, true);
    valueView.setBigUint64(at * baseSize, count.ruleId, true);
    valueView.setBigUint64(at * baseSize + 8, count.packets, true);
    valueView.setBigUint64(at * baseSize + 16, count.bytes, true);
  }
  return { count: counts.length, keys, values };
}

function notBelowZero(value: bigint): bigint {
  return value < 0n ? 0n : value;
}
