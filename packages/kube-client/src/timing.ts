import type { Clock } from "@bpfleet/base";

/** Time as the runners of this package see it. */
export interface Timing extends Clock {
  /** Ends early, without an error, when the signal does. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** 0 ≤ x < 1 */
  random(): number;
}

export const systemTiming: Timing = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  random: () => Math.random(),
  sleep: async (ms, signal) => {
    if (signal?.aborted === true) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    const end = (): void => resolve();
    signal?.addEventListener("abort", end, { once: true });
    await promise;
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  },
};
