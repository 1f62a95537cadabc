import { emptyPlan } from "@bpfleet/kernel";
import type { Outcome } from "../kind.ts";

/** An outcome of nothing, with what a test says about it; the clock stands at `atSeconds`. */
export function outcome(fields: Partial<Outcome>, atSeconds = 0): Outcome {
  return {
    nodeName: "node-1",
    problems: [],
    items: [],
    plan: emptyPlan,
    counters: [],
    passReasons: ["passed"],
    interfaces: [],
    isPaused: false,
    previousStatus: undefined,
    clock: { now: () => 1_767_225_600_000 + atSeconds * 1000, monotonicMs: () => 0 },
    ...fields,
  };
}
