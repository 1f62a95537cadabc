import type { MapDefinition } from "../specs.ts";
import { counterRowBytes } from "./generate.ts";
import { chainHooks, columnCount, countedCodes, proceedCodes } from "./hook.ts";
import type { ChainHook } from "./hook.ts";

/**
 * Verdict counters of one generation of a chain: row = member, column = class of the verdict, per CPU.
 * Rows belong to places in the order, so every generation has its own map.
 */
export function chainCounters(hook: ChainHook, memberCount: number): MapDefinition {
  return {
    type: "percpu_array",
    keySize: 4,
    valueSize: counterRowBytes(hook),
    maxEntries: Math.max(1, memberCount),
    flags: 0,
  };
}

export interface MemberCounts {
  /** Packets that the member saw. */
  readonly seen: bigint;
  /** Of these, the packets after which the next member ran. */
  readonly proceeded: bigint;
  /** Of these, the packets whose verdict was the chain's. */
  readonly exits: bigint;
  /** Every verdict that the member gave, by name; `other` is a code that the hook does not know. */
  readonly verdicts: Readonly<Record<string, bigint>>;
}

/**
 * What each member did, from the values of `chainCounters`: all rows, each with all CPUs. The columns
 * count packets that left the chain; who saw them follows from the order. The values are not read at
 * one instant, so under traffic a difference may be off by the packets between two reads; it is never
 * below zero.
 */
export function readChainCounters(
  hook: ChainHook,
  members: readonly { readonly proceedOn: readonly number[] }[],
  values: Uint8Array,
): MemberCounts[] {
  const { names } = chainHooks[hook];
  const rows = sumCpus(hook, members.length, values);
  const counts: MemberCounts[] = [];
  let proceeded = 0n;
  for (let index = members.length - 1; index >= 0; index--) {
    const isLast = index === members.length - 1;
    const proceedOn = members[index]?.proceedOn ?? [];
    const row = rows[index] ?? [];
    const verdicts = new Map<string, bigint>();
    const add = (column: number, count: bigint): void => {
      const name = names[column] ?? "other";
      verdicts.set(name, (verdicts.get(name) ?? 0n) + count);
    };
    for (const [column, count] of row.entries()) add(column, count);
    if (!isLast) {
      const counted = countedCodes(hook, proceedOn, isLast);
      // Only the one code that proceeds uncounted is left of those that the next member saw.
      const implied = proceedCodes(hook, proceedOn).find((code) => !counted.includes(code));
      const columns = new Set(counted.map((code) => (code < names.length ? code : names.length + 1)));
      const rest = [...columns].reduce((sum, column) => sum - (row[column] ?? 0n), proceeded);
      if (implied !== undefined && rest > 0n) add(implied, rest);
    }
    const seen = verdicts.values().reduce((sum, count) => sum + count, 0n);
    counts.unshift({
      seen,
      proceeded,
      exits: seen > proceeded ? seen - proceeded : 0n,
      verdicts: Object.fromEntries(verdicts),
    });
    proceeded = seen;
  }
  return counts;
}

function sumCpus(hook: ChainHook, memberCount: number, values: Uint8Array): bigint[][] {
  const columns = columnCount(hook);
  const rowCount = Math.max(1, memberCount);
  const cpus = values.length / (rowCount * columns * 8);
  if (!Number.isInteger(cpus) || cpus === 0)
    throw new RangeError(`counters of ${values.length} bytes: not ${rowCount} rows of ${columns} columns`);
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  return Array.from({ length: rowCount }, (_, row) =>
    Array.from({ length: columns }, (_, column) => {
      let sum = 0n;
      for (let cpu = 0; cpu < cpus; cpu++) sum += view.getBigUint64(((row * cpus + cpu) * columns + column) * 8, true);
      return sum;
    }),
  );
}
