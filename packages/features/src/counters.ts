import type { MapEntries, RuleRef } from "@bpfleet/kernel";
import type { Counter, InstanceCounters } from "./feature.ts";
import { counterSize, ruleBaseSize } from "./generated/shared.ts";

/** Counters per reason, summed over the CPUs: those that ever counted, and those in `always`. */
export function readReasons(
  entries: MapEntries | undefined,
  names: ReadonlyMap<number, string>,
  always: readonly string[] = [],
): Record<string, Counter> {
  const counters: Record<string, Counter> = {};
  for (const name of always) counters[name] = { packets: 0n, bytes: 0n };
  for (const [index, counter] of sumCounters(entries)) {
    const name = names.get(index);
    if (name !== undefined && (counter.packets > 0n || name in counters)) counters[name] = counter;
  }
  return counters;
}

/** What each rule counted: now (`hits`) and before the last edits (`base`). */
export function readRules(
  rules: readonly RuleRef[],
  hits: MapEntries | undefined,
  base: MapEntries | undefined,
): InstanceCounters["rules"] {
  const totals = sumCounters(hits);
  const earlier = readBase(base);
  return rules.map((rule) => {
    const now = totals.get(rule.index);
    const before = earlier.get(rule.index);
    const counter = {
      packets: (now?.packets ?? 0n) + (before?.packets ?? 0n),
      bytes: (now?.bytes ?? 0n) + (before?.bytes ?? 0n),
    };
    return { rule, counter };
  });
}

/** Readings are values, and instances may share them. */
const knownSums = new WeakMap<MapEntries, ReadonlyMap<number, Counter>>();
const knownBases = new WeakMap<MapEntries, ReadonlyMap<number, Counter>>();

/** Index → sum over the CPUs, of struct counter; zero counters are left out. */
function sumCounters(entries: MapEntries | undefined): ReadonlyMap<number, Counter> {
  if (entries === undefined || entries.count === 0) return new Map();
  const known = knownSums.get(entries);
  if (known !== undefined) return known;
  const totals = new Map<number, Counter>();
  knownSums.set(entries, totals);
  const keys = viewOf(entries.keys);
  const values = viewOf(entries.values);
  const stride = entries.values.byteLength / entries.count;
  for (let entry = 0; entry < entries.count; entry++) {
    let packets = 0n;
    let bytes = 0n;
    for (let at = entry * stride; at < (entry + 1) * stride; at += counterSize) {
      // Most of a long list never counted: the halves are cheaper to compare than a bigint is to make.
      if (values.getUint32(at, true) === 0 && values.getUint32(at + 4, true) === 0) continue;
      packets += values.getBigUint64(at, true);
      bytes += values.getBigUint64(at + 8, true);
    }
    if (packets > 0n) totals.set(keys.getUint32(entry * 4, true), { packets, bytes });
  }
  return totals;
}

/** Rule index → what an earlier list of rules counted for it. */
function readBase(entries: MapEntries | undefined): ReadonlyMap<number, Counter> {
  if (entries === undefined) return new Map();
  const known = knownBases.get(entries);
  if (known !== undefined) return known;
  const counters = new Map<number, Counter>();
  knownBases.set(entries, counters);
  const keys = viewOf(entries.keys);
  const values = viewOf(entries.values);
  for (let entry = 0; entry < entries.count; entry++) {
    const packets = values.getBigUint64(entry * ruleBaseSize + 8, true);
    const bytes = values.getBigUint64(entry * ruleBaseSize + 16, true);
    if (packets > 0n) counters.set(keys.getUint32(entry * 4, true), { packets, bytes });
  }
  return counters;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
