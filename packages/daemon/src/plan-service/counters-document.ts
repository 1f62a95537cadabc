import type { Counter, InstanceCounters } from "@bpfleet/features";
import type { FeatureInstance, NodePlan, RuleRef } from "@bpfleet/kernel";
import { decodeRules, encodeRules } from "./rule-rows.ts";

/**
 * Counters as they cross. Rules that the agent itself sent are told by their place in its plan, and only those that
 * counted something.
 */
interface CountersValue extends Omit<InstanceCounters, "rules"> {
  readonly instance?: { readonly key: string; readonly rules: number } | undefined;
  readonly rows?: Uint8Array | undefined;
  /** Three numbers of 64 bits, little-endian, for each that counted: its place, packets, bytes. */
  readonly counts: Uint8Array;
}

const countBytes = 24;

export function encodeAllCounters(counters: readonly InstanceCounters[], plan: NodePlan): unknown {
  const byFirstRule = new Map<RuleRef, FeatureInstance>();
  for (const instance of plan.instances) if (instance.rules[0]) byFirstRule.set(instance.rules[0], instance);
  return counters.map(({ rules, ...rest }): CountersValue => {
    const counts = encodeCounts(rules);
    const instance = rules[0] && byFirstRule.get(rules[0].rule);
    const isWhole =
      instance?.rules.length === rules.length && instance.rules.every((rule, at) => rules[at]?.rule === rule);
    if (instance !== undefined && isWhole)
      return { ...rest, instance: { key: instanceKey(instance), rules: rules.length }, counts };
    return { ...rest, rows: encodeRules(rules.map(({ rule }) => rule)), counts };
  });
}

/** `undefined` when they are of another plan than this one. */
export function decodeAllCounters(value: unknown, plan: NodePlan): readonly InstanceCounters[] | undefined {
  const instances = new Map(plan.instances.map((instance) => [instanceKey(instance), instance]));
  const counters: InstanceCounters[] = [];
  for (const { instance, rows, counts, ...rest } of value as readonly CountersValue[]) {
    const rules = instance === undefined ? rows && decodeRules(rows) : instances.get(instance.key)?.rules;
    if (rules === undefined || (instance !== undefined && rules.length !== instance.rules)) return undefined;
    const byRule = decodeCounts(counts);
    counters.push({
      ...rest,
      labels: rest.labels,
      rules: rules.map((rule, at) => ({ rule, counter: byRule.get(at) ?? { packets: 0n, bytes: 0n } })),
    });
  }
  return counters;
}

function encodeCounts(rules: InstanceCounters["rules"]): Uint8Array {
  const counted = rules.flatMap(({ counter: { packets, bytes } }, at) =>
    packets === 0n && bytes === 0n ? [] : [{ at, packets, bytes }],
  );
  const view = new DataView(new ArrayBuffer(counted.length * countBytes));
  for (const [index, { at, packets, bytes }] of counted.entries()) {
    view.setBigUint64(index * countBytes, BigInt(at), true);
    view.setBigUint64(index * countBytes + 8, packets, true);
    view.setBigUint64(index * countBytes + 16, bytes, true);
  }
  return new Uint8Array(view.buffer);
}

function decodeCounts(counts: Uint8Array): ReadonlyMap<number, Counter> {
  const view = new DataView(counts.buffer, counts.byteOffset, counts.byteLength);
  const byRule = new Map<number, Counter>();
  for (let offset = 0; offset + countBytes <= counts.length; offset += countBytes)
    byRule.set(Number(view.getBigUint64(offset, true)), {
      packets: view.getBigUint64(offset + 8, true),
      bytes: view.getBigUint64(offset + 16, true),
    });
  return byRule;
}

function instanceKey({ feature, key }: FeatureInstance): string {
  return `${feature} ${key}`;
}
