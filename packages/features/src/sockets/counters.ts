import type { FeatureInstance } from "@bpfleet/kernel";
import { sumPerCpu } from "../per-cpu.ts";
import type { InstanceCounters, MapReadings } from "../feature.ts";
import { podLabels, type PodData } from "../pod-cgroups.ts";

/** In the order of enum connection_event. */
const events = ["opened", "accepted", "closed", "retransmitted", "untracked"] as const;

export function countConnections(instance: FeatureInstance, readings: MapReadings): InstanceCounters {
  const totals = sumPerCpu(readings.get("connections"), events.length);
  const gauges: Record<string, bigint> = {};
  for (const [index, event] of events.entries()) gauges[`connections_${event}`] = totals[index] ?? 0n;
  const [opened = 0n, accepted = 0n, closed = 0n, , untracked = 0n] = totals;
  const active = opened + accepted - closed - untracked;
  gauges["connections_active"] = active > 0n ? active : 0n;
  return { owner: instance.owner, labels: podLabels(instance.data as PodData), reasons: {}, rules: [], gauges };
}
