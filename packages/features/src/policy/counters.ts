import type { FeatureInstance } from "@bpfleet/kernel";
import { readReasons, readRules } from "../counters.ts";
import type { InstanceCounters, MapReadings } from "../feature.ts";
import type { PolicyData } from "./plan.ts";
import { alwaysShown, reasonNames } from "./reasons.ts";

export const counterRoles = ["reasons", "hits", "base", "flows4", "flows6"] as const;

export function countPolicy(instance: FeatureInstance, readings: MapReadings): InstanceCounters {
  const { about, endpoints, tableLines = 0, addresses = 0 } = instance.data as PolicyData;
  const { owner } = instance;
  if (about === "policy") {
    const rules = readRules(instance.rules, readings.get("hits"), readings.get("base"));
    return { owner, reasons: {}, rules, gauges: { endpoints: endpoints.length } };
  }
  return {
    owner,
    reasons: readReasons(readings.get("reasons"), reasonNames, alwaysShown),
    rules: [],
    gauges: {
      endpoints: endpoints.length,
      tracked_flows: (readings.get("flows4")?.count ?? 0) + (readings.get("flows6")?.count ?? 0),
      table_lines: tableLines,
      known_addresses: addresses,
      rule_count: instance.rules.length,
    },
  };
}
