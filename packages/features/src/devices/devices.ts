import type { FeatureInstance } from "@bpfleet/kernel";
import { readReasons, readRules } from "../counters.ts";
import type { Feature, InstanceCounters, MapReadings } from "../feature.ts";
import type { DevicesIntent } from "./intent.ts";
import { planDevices } from "./plan.ts";

/** In the order of enum device_reason. */
const reasonNames = new Map([
  [0, "device_allowed"],
  [1, "device_not_listed"],
]);

/** Which device nodes pods may open or make. Its "packets" are the attempts. */
export const devices: Feature<DevicesIntent> = {
  name: "devices",
  plan: planDevices,
  passReasons: ["device_allowed"],
  counterRoles: ["reasons", "hits", "base"],
  counters: countDevices,
};

function countDevices(instance: FeatureInstance, readings: MapReadings): InstanceCounters {
  return {
    owner: instance.owner,
    reasons: readReasons(readings.get("reasons"), reasonNames, [...reasonNames.values()]),
    rules: readRules(instance.rules, readings.get("hits"), readings.get("base")),
    gauges: {},
  };
}
