import type { FeatureInstance, MapEntries } from "@bpfleet/kernel";
import { readReasons, readRules } from "../counters.ts";
import type { InstanceCounters, MapReadings } from "../feature.ts";
import { bucketSize, decodeFlowKey, flowKeySize } from "./generated/filter.ts";
import { podLabels } from "../pod-cgroups.ts";
import type { FilterData } from "./plan.ts";
import { reasonNames } from "./reasons.ts";

/** Shown even while they count nothing. */
const always = ["allowed", "blacklist", "blacklist_map", "rate_limited"];

export const counterRoles = ["reasons", "hits", "base", "buckets", "flows"] as const;

export function countFilter(instance: FeatureInstance, readings: MapReadings): InstanceCounters {
  const { listed, pods, direction, isFirst } = instance.data as FilterData;
  const buckets = readings.get("buckets");
  const flows = readings.get("flows");
  return {
    owner: instance.owner,
    labels: pods && podLabels({ pods, direction }),
    reasons: readReasons(readings.get("reasons"), reasonNames, always),
    rules: readRules(instance.rules, readings.get("hits"), readings.get("base")),
    // What the instances of an object share is told once.
    gauges: !isFirst
      ? {}
      : {
          blacklist_entries: listed.ipv4 + listed.ipv6,
          ...(buckets && { ratelimit_entries: countSources(buckets) }),
          ...(flows && { flow_count: flows.count, ipv6_flow_count: countIpv6(flows) }),
        },
  };
}

function countIpv6(flows: MapEntries): number {
  const view = new DataView(flows.keys.buffer, flows.keys.byteOffset, flows.keys.byteLength);
  let count = 0;
  for (let at = 0; at < view.byteLength; at += flowKeySize) if (decodeFlowKey(view, at).network === 6) count++;
  return count;
}

/** Buckets that a source has, full ones included until another source takes them. */
function countSources(buckets: MapEntries): number {
  const view = new DataView(buckets.values.buffer, buckets.values.byteOffset, buckets.values.byteLength);
  let count = 0;
  for (let at = 0; at < view.byteLength; at += bucketSize) {
    if (view.getUint32(at, true) !== 0 || view.getUint32(at + 4, true) !== 0) count++;
  }
  return count;
}
