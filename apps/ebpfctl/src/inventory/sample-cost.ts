import type { Survey } from "@bpfleet/daemon/client";

/** What it cost that runs were timed. */
export function renderSampleCost({ windowMs, switchingMs, runs }: NonNullable<Survey["sample"]>): string {
  const timed = runs.reduce((sum, each) => sum + each.runs, 0n);
  return `statistics were on for ${Math.round(windowMs)} ms (switching took ${switchingMs.toFixed(1)} ms): ${timed} runs were timed, each at the cost of two clock readings`;
}
