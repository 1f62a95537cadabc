import type { FeatureInstance } from "@bpfleet/kernel";
import { sumPerCpu } from "../per-cpu.ts";
import type { InstanceCounters, MapReadings } from "../feature.ts";

/** In the order of enum connection_event. */
const events = ["opened", "accepted", "closed", "retransmitted"] as const;

export function countConnections(instance: FeatureInstance, readings: MapReadings): InstanceCounters {
  const totals = sumPerCpu(readings.get("connections"), events.length);
  const gauges: Record<string, bigint> = {};
  for (const [index, event] of events.entries()) gauges[`connections_${event}`] = totals[index] ?? 0n;
  const active = (totals[0] ?? 0n) + (totals[1] ?? 0n) - (totals[2] ?? 0n);
  gauges["connections_active"] = active > 0n ? active : 0n;
  return { owner: instance.owner, reasons: {}, rules: [], gauges };
}
