import type { MapSpec } from "@bpfleet/kernel";
import { eventsMap, traceMap } from "./generated/shared.ts";

/** Ring buffer of all sampled verdicts of the node; every feature that judges packets plans it. */
export const eventsSpec: MapSpec = {
  key: "node/events",
  name: "events",
  definition: { ...eventsMap, maxEntries: 1 << 20 },
  contents: { kind: "live" },
};

/** One struct trace_switch: which verdicts are sampled. */
export const traceSpec: MapSpec = {
  key: "node/trace",
  name: "trace",
  definition: traceMap,
  contents: { kind: "live" },
};
