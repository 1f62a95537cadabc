import type { Timing } from "../timing.ts";

/** A clock that is set by hand. */
export class HandTiming implements Timing {
  nowMs = 1_700_000_000_000;
  passedMs = 0;

  now(): number {
    return this.nowMs + this.passedMs;
  }

  monotonicMs(): number {
    return this.passedMs;
  }

  random(): number {
    return 0;
  }

  async sleep(ms: number): Promise<void> {
    this.passedMs += ms;
    await Promise.resolve();
  }
}
