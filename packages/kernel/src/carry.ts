import { KernelError } from "@bpfleet/base";
import type { CounterPair } from "./action.ts";
import type { KernelPort, MapIdentity } from "./port.ts";
import type { MapEntries } from "./specs.ts";

/** Bytes of one entry {u64 rule id, u64 packets, u64 bytes} of a base; hits have {u64 packets, u64 bytes} for each CPU. */
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
function carriedBase(earlier: readonly PairReading[], present: PairReading): readonly Count[] {
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
  const base = await readRows(port, pair.base);
  const hits = await readRows(port, pair.hits);
  const baseCounts: Count[] = [];
  const hitCounts: Count[] = [];
  for (let index = 0; index < base.length; index++) {
    const ruleId = index === 0 ? 0n : base.sum(index, 0, 3);
    baseCounts.push({ ruleId, packets: base.sum(index, 1, 3), bytes: base.sum(index, 2, 3) });
    hitCounts.push({ ruleId, packets: hits.sum(index, 0, 2), bytes: hits.sum(index, 1, 2) });
  }
  return {
    baseId: pair.baseId ?? Number.MAX_SAFE_INTEGER,
    isComplete: base.length > 0 && base.sum(0, 0, 3) === complete,
    hits: hitCounts,
    base: baseCounts,
  };
}

/** The entries of an array, as numbers of 64 bits. */
class Rows {
  readonly length: number;
  /** Halves of the numbers, the low one first. */
  readonly #halves: Uint32Array;
  readonly #halvesEach: number;
  /** Index → place among the entries. */
  readonly #places: Uint32Array;

  constructor({ count, keys, values }: MapEntries) {
    this.length = count;
    this.#halves = new Uint32Array(new Uint8Array(values).buffer);
    this.#halvesEach = count === 0 ? 0 : this.#halves.length / count;
    this.#places = new Uint32Array(count);
    for (const [place, index] of new Uint32Array(new Uint8Array(keys).buffer).entries()) this.#places[index] = place;
  }

  /** Of one field of all CPUs; each has `fields` of them. Halves are added up apart: many big integers would be slow. */
  sum(index: number, field: number, fields: number): bigint {
    const start = (this.#places[index] ?? 0) * this.#halvesEach;
    let [low, high] = [0, 0];
    for (let at = start + field * 2; at < start + this.#halvesEach; at += fields * 2) {
      low += this.#halves[at] ?? 0;
      high += this.#halves[at + 1] ?? 0;
    }
    return (BigInt(high) << 32n) + BigInt(low);
  }
}

async function readRows(port: KernelPort, identity: MapIdentity): Promise<Rows> {
  const entries = await port.readMap(identity);
  if (entries === undefined) {
    throw new KernelError(`read map ${identity.key}: it is gone`, {
      code: "stale",
      call: "BPF_OBJ_GET",
      retry: "backoff",
    });
  }
  return new Rows(entries);
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
