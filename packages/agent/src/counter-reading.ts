import { isDeepStrictEqual } from "node:util";
import { errorText, type Clock } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import type { NodePlan } from "@bpfleet/kernel";
import type { AgentDaemon } from "./agent-options.ts";

/** Several readers in a row share one reading. */
const freshMs = 100;
const nothing: readonly InstanceCounters[] = [];

/** What was counted, as it was last read of the daemon. */
export class CounterReading {
  readonly #clock: Clock;
  readonly #daemon: Pick<AgentDaemon, "counters">;
  readonly #tell: (notice: string) => void;
  #last = nothing;
  #readAt = -Infinity;
  #reading: Promise<void> = Promise.resolve();

  constructor(clock: Clock, daemon: Pick<AgentDaemon, "counters">, tell: (notice: string) => void) {
    this.#clock = clock;
    this.#daemon = daemon;
    this.#tell = tell;
  }

  /** What counted nothing since the reading before is the same object as then, and so is all of it. */
  get last(): readonly InstanceCounters[] {
    return this.#last;
  }

  /** Whoever asks while counters are being read waits for them: what was read before may be seconds old. */
  read(plan: NodePlan): Promise<void> {
    const now = this.#clock.monotonicMs();
    if (plan.instances.length === 0) this.#last = nothing;
    else if (now - this.#readAt >= freshMs) {
      this.#readAt = now;
      this.#reading = this.#ask();
    }
    return this.#reading;
  }

  async #ask(): Promise<void> {
    try {
      this.#last = keepEqual(this.#last, await this.#daemon.counters());
    } catch (error) {
      this.#tell(`read counters: ${errorText(error)}`);
    }
  }
}

function keepEqual(before: readonly InstanceCounters[], now: readonly InstanceCounters[]): readonly InstanceCounters[] {
  const kept = now.map((each, at) => {
    const earlier = before[at];
    return earlier !== undefined && isDeepStrictEqual(earlier, each) ? earlier : each;
  });
  return kept.length === before.length && kept.every((each, at) => each === before[at]) ? before : kept;
}
