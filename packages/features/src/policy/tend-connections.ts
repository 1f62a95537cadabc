import type { FeatureInstance, MapEntries } from "@bpfleet/kernel";
import type { MapEdit, ReadRole } from "../feature.ts";
import {
  connectionCountSize,
  connectionSize,
  connectionState,
  decodeConnection,
  decodeConnectionCount,
  flowKeySize,
} from "./generated/policy.ts";
import type { PolicyData } from "./instances.ts";

const second = 1_000_000_000n;
/** As records of flows end, but for those that nobody went on with: anybody can ask for many. */
const idle = { tcp: 8000n * second, others: 180n * second, ending: 60n * second, opening: 10n * second };
const tcp = 6;
const settled = connectionState.answered | connectionState.confirmed;

interface Count {
  readonly opened: bigint;
  readonly closed: bigint;
}

/** Connections that each interface has open, by what programs and user space counted. */
export function openConnections(counts: MapEntries | undefined, aged: MapEntries | undefined): Map<number, number> {
  const gone = readAged(aged);
  return new Map(
    [...readCounts(counts)].map(([ifindex, { opened, closed }]) => [
      ifindex,
      Math.max(0, Number(opened - closed - (gone.get(ifindex) ?? 0n))),
    ]),
  );
}

/**
 * Removes connections that were still for too long, and puts the numbers right. Where none began and none ended while
 * they were read, the number is what there is; else as near as what happened meanwhile lets it be.
 */
export async function tendConnections(
  { data }: FeatureInstance,
  read: ReadRole,
  nowNs: bigint,
): Promise<readonly MapEdit[]> {
  const limited = new Set((data as PolicyData).limited);
  const before = readCounts(await read("connection_counts"));
  const entries = await read("connections");
  const after = readCounts(await read("connection_counts"));
  const aged = readAged(await read("connections_aged"));
  if (entries === undefined) return [];
  const { ended, open, lost } = sort(entries, limited, nowNs);
  const puts: [number, bigint][] = [];
  for (const ifindex of limited) {
    const [first, last] = [before.get(ifindex), after.get(ifindex)];
    if (first === undefined || last === undefined) continue;
    const known = aged.get(ifindex) ?? 0n;
    const meanwhile = last.opened - first.opened + (last.closed - first.closed);
    const exact = first.opened - first.closed - BigInt(open.get(ifindex) ?? 0);
    const guess = known + BigInt(lost.get(ifindex) ?? 0);
    const right = within(guess, exact - meanwhile, exact + meanwhile);
    if (right !== known) puts.push([ifindex, right]);
  }
  const gone = [...new Set([...after.keys(), ...aged.keys()])].filter((ifindex) => !limited.has(ifindex));
  return [
    { role: "connections", puts: none, deletes: ended },
    { role: "connections_aged", puts: encodeAged(puts), deletes: keysOf(gone.filter((each) => aged.has(each))) },
    { role: "connection_counts", puts: none, deletes: keysOf(gone.filter((each) => after.has(each))) },
  ].filter((edit) => edit.puts.count + edit.deletes.count > 0);
}

const none: MapEntries = { count: 0, keys: new Uint8Array(), values: new Uint8Array() };

function within(value: bigint, least: bigint, most: bigint): bigint {
  return value < least ? least : value > most ? most : value;
}

interface Sorted {
  readonly ended: MapEntries;
  /** By interface: those that are counted and go on, and those that are counted and have ended. */
  readonly open: ReadonlyMap<number, number>;
  readonly lost: ReadonlyMap<number, number>;
}

function sort({ count, keys, values }: MapEntries, limited: ReadonlySet<number>, nowNs: bigint): Sorted {
  const keyView = viewOf(keys);
  const valueView = viewOf(values);
  const ended: Uint8Array[] = [];
  const [open, lost] = [new Map<number, number>(), new Map<number, number>()];
  for (let at = 0; at < count; at++) {
    const ifindex = keyView.getUint32(at * flowKeySize, true);
    const protocol = keyView.getUint32(at * flowKeySize + 8, true);
    const { seenNs, state } = decodeConnection(valueView, at * connectionSize);
    const isOver = !limited.has(ifindex) || nowNs - seenNs >= longest(state, protocol);
    if (isOver) ended.push(keys.subarray(at * flowKeySize, (at + 1) * flowKeySize));
    if ((state & connectionState.reset) !== 0) continue;
    const numbers = isOver ? lost : open;
    numbers.set(ifindex, (numbers.get(ifindex) ?? 0) + 1);
  }
  return { ended: { count: ended.length, keys: concat(ended), values: new Uint8Array() }, open, lost };
}

function longest(state: number, protocol: number): bigint {
  if (state & (connectionState.reset | connectionState.local_fin | connectionState.remote_fin)) return idle.ending;
  if ((state & settled) !== settled) return idle.opening;
  return protocol === tcp ? idle.tcp : idle.others;
}

function readCounts(entries: MapEntries | undefined): ReadonlyMap<number, Count> {
  if (entries === undefined) return new Map();
  const [keys, values] = [viewOf(entries.keys), viewOf(entries.values)];
  return new Map(
    Array.from({ length: entries.count }, (_, at) => [
      keys.getUint32(at * 4, true),
      decodeConnectionCount(values, at * connectionCountSize),
    ]),
  );
}

function readAged(entries: MapEntries | undefined): ReadonlyMap<number, bigint> {
  if (entries === undefined) return new Map();
  const [keys, values] = [viewOf(entries.keys), viewOf(entries.values)];
  return new Map(
    Array.from({ length: entries.count }, (_, at) => [keys.getUint32(at * 4, true), values.getBigInt64(at * 8, true)]),
  );
}

function encodeAged(numbers: readonly (readonly [ifindex: number, aged: bigint])[]): MapEntries {
  const values = BigInt64Array.from(numbers, ([, aged]) => aged);
  const { count, keys } = keysOf(numbers.map(([ifindex]) => ifindex));
  return { count, keys, values: new Uint8Array(values.buffer) };
}

function keysOf(ifindexes: readonly number[]): MapEntries {
  const keys = new Uint8Array(Uint32Array.from(ifindexes).buffer);
  return { count: ifindexes.length, keys, values: new Uint8Array() };
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.length * flowKeySize);
  for (const [at, part] of parts.entries()) whole.set(part, at * flowKeySize);
  return whole;
}
