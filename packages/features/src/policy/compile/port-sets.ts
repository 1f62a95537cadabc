import type { ColumnMap, PortRange } from "../table/policy-table.ts";
import type { PortMatch, PortProtocol } from "../policy.ts";
import { Partition } from "./partition.ts";

/** In which list of a ColumnMap a protocol stands. */
export const spaces = [
  "tcp",
  "udp",
  "sctp",
  "icmp",
  "icmpv6",
  "others",
] as const satisfies readonly (keyof ColumnMap)[];
export type Space = (typeof spaces)[number];

export interface SpaceRange {
  readonly space: Space;
  readonly from: number;
  readonly to: number;
}

const spaceOfProtocol: Readonly<Record<PortProtocol, Space>> = { TCP: "tcp", UDP: "udp", SCTP: "sctp" };
/** IP protocols that have a list of their own, and its last entry. */
const spaceOfNumber: Readonly<Record<number, Space>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp" };
const lastPort = 65_535;
const lastType = 255;

export function rangesOf(match: Exclude<PortMatch, { readonly match: "named-port" }>): readonly SpaceRange[] {
  switch (match.match) {
    case "ports":
      return [{ space: spaceOfProtocol[match.protocol], from: match.from, to: Math.min(match.to, lastPort) }];
    case "icmp":
      return [{ space: match.family === 4 ? "icmp" : "icmpv6", from: match.type, to: match.type }];
    case "ip-protocol": {
      const space = spaceOfNumber[match.number];
      // ICMP of the other family is a protocol like others.
      const other = { space: "others", from: match.number, to: match.number } as const;
      if (space === undefined) return [other];
      const isIcmp = space.startsWith("icmp");
      return [{ space, from: 0, to: isIcmp ? lastType : lastPort }, ...(isIcmp ? [other] : [])];
    }
  }
}

export function rangeOfPort(protocol: PortProtocol, port: number, last = port): SpaceRange {
  return { space: spaceOfProtocol[protocol], from: port, to: Math.max(port, last) };
}

export interface KeyedRanges {
  /** Equal for equal ranges, whatever their order. */
  readonly key: string;
  readonly ranges: readonly SpaceRange[];
}

export function keyedRanges(ranges: readonly SpaceRange[]): KeyedRanges {
  const texts = ranges.map(({ space, from, to }) => `${space} ${from}-${to}`);
  return { key: texts.toSorted().join(), ranges };
}

export interface PortSet {
  readonly id: number;
  readonly ranges: readonly SpaceRange[];
}

export interface Columns {
  /** Index into `columnMaps`. */
  readonly index: number;
  readonly count: number;
  /** By the id of a port set: the columns that it covers. */
  readonly of: ReadonlyMap<number, readonly number[]>;
}

/** Distinct sets of ports, and the columns that tables over some of them need. */
export class PortSets {
  readonly #sets = new Map<string, PortSet>();
  readonly #columns = new Map<string, Columns>();
  readonly maps: ColumnMap[] = [];

  intern({ key, ranges }: KeyedRanges): PortSet {
    let set = this.#sets.get(key);
    if (set === undefined) this.#sets.set(key, (set = { id: this.#sets.size, ranges }));
    return set;
  }

  /** Tables that know the same sets share a column map. */
  columnsOf(sets: ReadonlySet<PortSet>): Columns {
    const sorted = [...sets].toSorted((a, b) => a.id - b.id);
    const key = sorted.map(({ id }) => id).join();
    let columns = this.#columns.get(key);
    if (columns === undefined) {
      const { map, count, of } = divideIntoColumns(sorted);
      columns = { index: this.maps.length, count, of };
      this.maps.push(map);
      this.#columns.set(key, columns);
    }
    return columns;
  }
}

interface Segment {
  readonly space: Space;
  readonly from: number;
  readonly to: number;
}

/** The pieces between all ends of ranges; pieces in the same sets are one column, whatever their protocol. */
function divideIntoColumns(sets: readonly PortSet[]): Omit<Columns, "index"> & { readonly map: ColumnMap } {
  const segments: Segment[] = [];
  const starts = new Map<Space, { readonly first: number; readonly cuts: readonly number[] }>();
  for (const space of spaces) {
    const cuts = cutsOf(space, sets);
    starts.set(space, { first: segments.length, cuts });
    for (const [at, from] of cuts.slice(0, -1).entries())
      segments.push({ space, from, to: (cuts[at + 1] ?? from) - 1 });
  }
  const partition = new Partition(segments.length);
  for (const [local, { ranges }] of sets.entries()) {
    const members: number[] = [];
    for (const { space, from, to } of ranges) {
      const { first, cuts } = starts.get(space) ?? { first: 0, cuts: [] };
      for (let at = indexOf(cuts, from); (cuts[at] ?? Infinity) <= to; at++) members.push(first + at);
    }
    partition.divide(local, members);
  }
  const { numbers, blockOf } = partition.dense();
  const of = new Map<number, number[]>(sets.map(({ id }) => [id, []]));
  for (const [column, block] of blockOf.entries())
    for (const local of partition.setsOf(block)) of.get(sets[local]?.id ?? -1)?.push(column);
  const lists = Object.fromEntries(spaces.map((space): [Space, PortRange[]] => [space, []])) as Record<
    Space,
    PortRange[]
  >;
  for (const [at, { space, from, to }] of segments.entries()) {
    const column = numbers[at] ?? 0;
    if (column === 0) continue;
    const list = lists[space];
    const last = list.at(-1);
    if (last !== undefined && last.column === column && last.to === from - 1) list[list.length - 1] = { ...last, to };
    else list.push({ from, to, column });
  }
  return { map: lists, count: blockOf.length - 1, of };
}

function cutsOf(space: Space, sets: readonly PortSet[]): readonly number[] {
  const cuts = new Set<number>();
  for (const { ranges } of sets) {
    for (const range of ranges) {
      if (range.space !== space || range.from > range.to) continue;
      cuts.add(range.from);
      cuts.add(range.to + 1);
    }
  }
  return [...cuts].toSorted((a, b) => a - b);
}

function indexOf(cuts: readonly number[], cut: number): number {
  let low = 0;
  let high = cuts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((cuts[middle] ?? 0) < cut) low = middle + 1;
    else high = middle;
  }
  return low;
}
