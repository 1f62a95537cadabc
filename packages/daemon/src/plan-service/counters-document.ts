import type { Counter, InstanceCounters } from "@bpfleet/features";
import type { FeatureInstance, NodePlan, RuleRef } from "@bpfleet/kernel";
import { decodeRules, encodeRules, type RuleRows } from "./rule-rows.ts";

/**
 * Counters as they cross. Rules that the agent itself sent are told by their place in its plan, and only those that
 * counted something.
 */
interface CountersValue extends Omit<InstanceCounters, "rules"> {
  readonly instance?: { readonly key: string; readonly rules: number } | undefined;
  readonly rows?: RuleRows | undefined;
  readonly counts: readonly (readonly [at: number, packets: bigint, bytes: bigint])[];
}

export function encodeAllCounters(counters: readonly InstanceCounters[], plan: NodePlan): unknown {
  const byFirstRule = new Map<RuleRef, FeatureInstance>();
  for (const instance of plan.instances) if (instance.rules[0]) byFirstRule.set(instance.rules[0], instance);
  return counters.map(({ rules, ...rest }): CountersValue => {
    const counts = rules.flatMap(({ counter }, at) =>
      counter.packets === 0n && counter.bytes === 0n ? [] : [[at, counter.packets, counter.bytes] as const],
    );
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
    const byRule = new Map<number, Counter>(counts.map(([at, packets, bytes]) => [at, { packets, bytes }]));
    counters.push({
      ...rest,
      labels: rest.labels,
      rules: rules.map((rule, at) => ({ rule, counter: byRule.get(at) ?? { packets: 0n, bytes: 0n } })),
    });
  }
  return counters;
}

function instanceKey({ feature, key }: FeatureInstance): string {
  return `${feature} ${key}`;
}
