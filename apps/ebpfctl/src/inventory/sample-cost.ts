import type { Clock } from "@bpfleet/base";
import type { Survey } from "@bpfleet/daemon/client";

const readings = 2000;

/** What it cost that runs were timed: the kernel reads its clock before and after each. */
export function renderSampleCost({ windowMs, switchingMs, runs }: NonNullable<Survey["sample"]>, clock: Clock): string {
  const timed = runs.reduce((sum, each) => sum + each.runs, 0n);
  const costMs = (Number(timed) * 2 * clockReadingNs(clock)) / 1e6;
  const share = (costMs * 100) / windowMs;
  const about = costMs < 0.1 ? "less than 0.1 ms" : `about ${costMs.toFixed(1)} ms`;
  return `statistics were on for ${Math.round(windowMs)} ms (switching took ${switchingMs.toFixed(1)} ms): ${timed} runs were timed, each at the cost of two clock readings, ${about} of CPU time in all${share < 0.1 ? "" : ` (${share.toFixed(1)} % of one CPU)`}`;
}

/** Ours of this machine's clock: that of the kernel is no slower. */
function clockReadingNs(clock: Clock): number {
  const begun = clock.monotonicMs();
  for (let reading = 0; reading < readings; reading++) clock.monotonicMs();
  return ((clock.monotonicMs() - begun) * 1e6) / readings;
}
