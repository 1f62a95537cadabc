import type { FeatureInstance } from "@bpfleet/kernel";
import { readReasons, readRules } from "../counters.ts";
import type { Feature, InstanceCounters, MapReadings } from "../feature.ts";
import type { DevicesIntent } from "./intent.ts";
import { planDevices } from "./plan.ts";
import { podLabels, type PodData } from "../pod-cgroups.ts";

/** In the order of enum device_reason. */
const reasonNames = new Map([
  [0, "devices_allowed"],
  [1, "devices_refused"],
]);

/** Which device nodes pods may open or make. Attempts are no packets: what became of them are gauges. */
export const devices: Feature<DevicesIntent> = {
  name: "devices",
  plan: planDevices,
  passReasons: [],
  counterRoles: ["reasons", "hits", "base"],
  counters: countDevices,
};

function countDevices(instance: FeatureInstance, readings: MapReadings): InstanceCounters {
  const attempts = readReasons(readings.get("reasons"), reasonNames, [...reasonNames.values()]);
  return {
    owner: instance.owner,
    labels: podLabels(instance.data as PodData),
    reasons: {},
    rules: readRules(instance.rules, readings.get("hits"), readings.get("base")),
    gauges: Object.fromEntries(Object.entries(attempts).map(([name, { packets }]) => [name, packets])),
  };
}
