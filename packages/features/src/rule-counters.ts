import { fingerprint, type ObjectRef } from "@bpfleet/base";
import type { MapEntries, MapSpec, RuleRef } from "@bpfleet/kernel";
import { hitsMap, ruleBaseSize } from "./generated/shared.ts";

/** The pair of maps in which the rules of one instance are counted; `<key>/hits` and `<key>/base`. */
export function planRuleCounters(
  key: string,
  rules: readonly RuleRef[],
  owner: ObjectRef,
): readonly [hits: MapSpec, base: MapSpec] {
  const count = rules.length + 1;
  const entries = encodeBase(rules, count);
  const digest = fingerprint(entries.values);
  const none = { count: 0, keys: new Uint8Array(0), values: new Uint8Array(0) };
  return [
    {
      key: `${key}/hits`,
      name: "hits",
      definition: { ...hitsMap, maxEntries: count },
      contents: { kind: "sealed", digest, entries: none },
      owner,
      carries: "rule-hits",
    },
    {
      key: `${key}/base`,
      name: "base",
      definition: { type: "array", keySize: 4, valueSize: ruleBaseSize, maxEntries: count, flags: 0 },
      contents: { kind: "sealed", digest, entries },
      owner,
      carries: "rule-base",
    },
  ];
}

/** Rule ids at their indices, nothing counted yet. */
function encodeBase(rules: readonly RuleRef[], count: number): MapEntries {
  const keys = Uint32Array.from({ length: count }, (_, index) => index);
  const values = new Uint8Array(count * ruleBaseSize);
  const view = new DataView(values.buffer);
  for (const { index, id } of rules) view.setBigUint64(index * ruleBaseSize, BigInt(id), true);
  return { count, keys: new Uint8Array(keys.buffer), values };
}
