import { availableParallelism, loadavg } from "node:os";

/** More would let anything pass as quick. */
const mostSeconds = 2;
/** Beyond that much more work than processors the time that something takes says nothing of it. */
const beyondDoubt = 8;

/**
 * What a limit in seconds is longer on a machine with more work than processors: half a second for each time as much,
 * `mostSeconds` at most, but on one that is overloaded beyond doubt.
 */
export function busySeconds(timesAsMuch = (loadavg()[0] ?? 0) / availableParallelism()): number {
  const seconds = Math.max(0, timesAsMuch - 1) / 2;
  return timesAsMuch > beyondDoubt ? seconds : Math.min(mostSeconds, seconds);
}
