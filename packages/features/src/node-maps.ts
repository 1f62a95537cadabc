import type { MapSpec } from "@bpfleet/kernel";
import { eventsMap, lostEventsMap, traceMap } from "./generated/shared.ts";

/** Ring buffer of all sampled verdicts of the node; every feature that judges packets plans it. */
export const eventsSpec: MapSpec = {
  key: "node/events",
  name: "events",
  definition: { ...eventsMap, maxEntries: 1 << 20 },
  contents: { kind: "live" },
};

/** By `lostEvent`: how many found the ring full, since the map was made. */
export const lostEventsSpec: MapSpec = {
  key: "node/lost-events",
  name: "lost_events",
  definition: lostEventsMap,
  contents: { kind: "live" },
};

/** One struct trace_switch: which verdicts are sampled. */
export const traceSpec: MapSpec = {
  key: "node/trace",
  name: "trace",
  definition: traceMap,
  contents: { kind: "live" },
};
