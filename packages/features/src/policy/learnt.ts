import type { MapEntries } from "@bpfleet/kernel";
import {
  decodeKnownName,
  decodeLearnt,
  decodeLearntKey,
  knownNameSize,
  learntKeySize,
  learntSize,
  nameEvent,
} from "./generated/policy.ts";

/** A name by which an endpoint knows an address, from an answer of DNS. */
export interface LearntName {
  readonly ifindex: number;
  /** 4 or 16 bytes in network order. */
  readonly address: Uint8Array;
  readonly name: string;
  /** By the monotonic clock. Connections that are open live on. */
  readonly untilNs: bigint;
}

/** From policy/learnt and policy/names. */
export function readLearnt(learnt: MapEntries, known: MapEntries): readonly LearntName[] {
  const names = readNames(known);
  const keys = new DataView(learnt.keys.buffer, learnt.keys.byteOffset, learnt.keys.byteLength);
  const values = new DataView(learnt.values.buffer, learnt.values.byteOffset, learnt.values.byteLength);
  return Array.from({ length: learnt.count }, (_, at) => {
    const { ifindex, high, low } = decodeLearntKey(keys, at * learntKeySize);
    const address = addressOf(high, low);
    return decodeLearnt(values, at * learntSize).names.flatMap(({ hash, untilNs }): LearntName[] => {
      const name = hash === 0n ? undefined : names.get(hash);
      return name === undefined ? [] : [{ ifindex, address, name, untilNs }];
    });
  }).flat();
}

const indexes = new WeakMap<MapEntries, ReadonlyMap<string, readonly LearntName[]>>();

/** What one endpoint knows one address by; the same entries are read once. */
export function namesOf(
  learnt: MapEntries,
  known: MapEntries,
  ifindex: number,
  address: Uint8Array,
): readonly LearntName[] {
  let index = indexes.get(learnt);
  if (index === undefined) {
    index = Map.groupBy(readLearnt(learnt, known), (each) => `${each.ifindex} ${each.address.join()}`);
    indexes.set(learnt, index);
  }
  return index.get(`${ifindex} ${address.join()}`) ?? [];
}

/** By hash. */
function readNames({ count, keys, values }: MapEntries): ReadonlyMap<bigint, string> {
  const keyView = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
  const valueView = new DataView(values.buffer, values.byteOffset, values.byteLength);
  return new Map(
    Array.from({ length: count }, (_, at) => {
      const { length, text } = decodeKnownName(valueView, at * knownNameSize);
      return [keyView.getBigUint64(at * 8, true), String.fromCharCode(...text.subarray(0, length))] as const;
    }),
  );
}

function addressOf(high: bigint, low: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  const words = new DataView(bytes.buffer);
  words.setBigUint64(0, high);
  words.setBigUint64(8, low);
  return high === 0n && low >> 32n === 0xffffn ? bytes.subarray(12) : bytes;
}

export type NameEvents = Readonly<Record<keyof typeof nameEvent, bigint>>;

/** From policy/name-events, summed over the CPUs. */
export function readNameEvents({ count, values }: MapEntries): NameEvents {
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  const size = count === 0 ? 0 : values.byteLength / count;
  const sumOf = (event: number): bigint => {
    let sum = 0n;
    for (let at = event * size; at < (event + 1) * size && at + 8 <= values.byteLength; at += 8)
      sum += view.getBigUint64(at, true);
    return sum;
  };
  return Object.fromEntries(Object.entries(nameEvent).map(([name, event]) => [name, sumOf(event)])) as NameEvents;
}

/** What had to give way to others, since the maps were made: nobody connects to it before it is asked for again. */
export interface ForgottenNames {
  readonly addresses: bigint;
  readonly names: bigint;
}

/** From all of policy/learnt and policy/names, out of which user space takes nothing. */
export function countForgotten(
  events: Pick<NameEvents, "address_added" | "name_added" | "no_room">,
  learnt: Pick<MapEntries, "count">,
  known: Pick<MapEntries, "count">,
): ForgottenNames {
  const gone = (added: bigint, count: number): bigint => {
    const left = added - BigInt(count);
    return left > 0n ? left : 0n;
  };
  return {
    addresses: gone(events.address_added, learnt.count) + events.no_room,
    names: gone(events.name_added, known.count),
  };
}
