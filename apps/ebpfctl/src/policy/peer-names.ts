import { fetchPolicyState } from "@bpfleet/agent";
import type { Clock } from "@bpfleet/base";
import type { TraceEvent } from "@bpfleet/daemon/client";
import { summarizePacket } from "../packet/describe-packet.ts";

/** Address → whose it is. */
export type Names = Readonly<Record<string, string>>;

/** Whoever is new is asked for again after this long. */
const againMs = 2000;

/** Names of those who are known to the agent of this node, where policies are in force; none where it does not answer. */
export class PeerNames {
  readonly #socket: string;
  readonly #clock: Clock;
  #names: Names = {};
  #askedMs = -Infinity;

  constructor(socket: string, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
  }

  async of(events: readonly TraceEvent[]): Promise<Names> {
    const now = this.#clock.monotonicMs();
    if (now - this.#askedMs < againMs || events.every((event) => this.#isKnown(event))) return this.#names;
    this.#askedMs = now;
    try {
      const { data, names } = await fetchPolicyState(this.#socket);
      this.#names = data === undefined ? {} : names;
    } catch {
      this.#names = {};
    }
    return this.#names;
  }

  #isKnown({ head, layer }: TraceEvent): boolean {
    const { from, to } = summarizePacket(head, layer);
    return [from, to].every((address) => address === undefined || this.#names[address] !== undefined);
  }
}
