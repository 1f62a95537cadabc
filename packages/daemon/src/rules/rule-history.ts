import type { InstanceCounters, RuleCounter } from "@bpfleet/features";
import type { StateFile } from "../state/state-file.ts";

/** What a rule counted by the maps that were there before those of now, and when. Times are milliseconds since 1970. */
interface History {
  readonly sinceMs: number;
  lastHitMs: number;
  earlierPackets: number;
  earlierBytes: number;
  /** By the maps of now, when they were last read. */
  packets: number;
  bytes: number;
  /** Its counters went at that time; 0: they are there. */
  goneMs: number;
}

type Row = readonly [
  id: string,
  sinceMs: number,
  lastHitMs: number,
  earlierPackets: number,
  earlierBytes: number,
  packets: number,
  bytes: number,
  goneMs: number,
];

interface Stored {
  readonly boot: string;
  readonly rows: readonly Row[];
}

/** Rules that nobody asks about any more are forgotten after so long. */
const goneKeptMs = 7 * 86_400_000;
const mostKept = 100_000;

/**
 * What outlives the counters of rules: since when each is counted, when it was last seen to have counted, and what it
 * counted before it went and came back.
 */
export class RuleHistory {
  readonly #file: StateFile;
  readonly #boot: string;
  readonly #rules = new Map<string, History>();
  #isChanged = false;
  /** Rules that a plan has no more, until it is in force. */
  readonly #leaving = new Set<string>();

  /** `boot`: counters of another one are gone. */
  constructor(file: StateFile, boot: string, nowMs: number) {
    this.#file = file;
    this.#boot = boot;
    const loaded = file.load();
    if (loaded.is !== "there") return;
    const stored = JSON.parse(loaded.text) as Stored;
    for (const [id, sinceMs, lastHitMs, earlierPackets, earlierBytes, packets, bytes, goneMs] of stored.rows) {
      const isGone = goneMs !== 0 || stored.boot !== boot;
      this.#rules.set(id, {
        sinceMs,
        lastHitMs,
        earlierPackets,
        earlierBytes,
        packets,
        bytes,
        goneMs: isGone ? goneMs || nowMs : 0,
      });
    }
  }

  /** Counters as they were just read, with what went before. */
  see(counters: InstanceCounters, nowMs: number): InstanceCounters {
    return { ...counters, rules: counters.rules.map((each) => this.#seeRule(each, nowMs)) };
  }

  /** These are in no plan any more; what they counted has just been seen. */
  leave(ids: Iterable<string>): void {
    for (const id of ids) this.#leaving.add(id);
  }

  /** The plan that has just these is in force: the counters of others are gone. True where that is so of some. */
  areInForce(present: ReadonlySet<string>, nowMs: number): boolean {
    let isAny = false;
    for (const id of this.#leaving) {
      const known = this.#rules.get(id);
      if (known === undefined || present.has(id)) continue;
      known.goneMs = nowMs;
      this.#isChanged = isAny = true;
    }
    this.#leaving.clear();
    return isAny;
  }

  get isLeaving(): boolean {
    return this.#leaving.size > 0;
  }

  async save(nowMs: number): Promise<void> {
    if (!this.#isChanged) return;
    this.#isChanged = false;
    this.#forget(nowMs);
    const rows = [...this.#rules].map(([id, known]): Row => [
      id,
      known.sinceMs,
      known.lastHitMs,
      known.earlierPackets,
      known.earlierBytes,
      known.packets,
      known.bytes,
      known.goneMs,
    ]);
    try {
      await this.#file.save(JSON.stringify({ boot: this.#boot, rows } satisfies Stored));
    } catch (error) {
      this.#isChanged = true;
      throw error;
    }
  }

  #seeRule({ rule, counter }: RuleCounter, nowMs: number): RuleCounter {
    const [packets, bytes] = [Number(counter.packets), Number(counter.bytes)];
    let known = this.#rules.get(rule.id);
    if (known === undefined) {
      known = { sinceMs: nowMs, lastHitMs: 0, earlierPackets: 0, earlierBytes: 0, packets: 0, bytes: 0, goneMs: 0 };
      this.#rules.set(rule.id, known);
      this.#isChanged = true;
    }
    // Less than before, they are others that nobody told of.
    if (known.goneMs !== 0 || packets < known.packets) {
      known.earlierPackets += known.packets;
      known.earlierBytes += known.bytes;
      known.packets = known.bytes = known.goneMs = 0;
      this.#isChanged = true;
    }
    if (packets > known.packets) {
      known.lastHitMs = nowMs;
      this.#isChanged = true;
    }
    known.packets = packets;
    known.bytes = bytes;
    return {
      rule,
      counter: {
        packets: counter.packets + BigInt(known.earlierPackets),
        bytes: counter.bytes + BigInt(known.earlierBytes),
      },
      sinceMs: known.sinceMs,
      ...(known.lastHitMs !== 0 && { lastHitMs: known.lastHitMs }),
    };
  }

  #forget(nowMs: number): void {
    const gone = [...this.#rules]
      .filter(([, { goneMs }]) => goneMs !== 0)
      .toSorted((a, b) => a[1].goneMs - b[1].goneMs);
    const surplus = this.#rules.size - mostKept;
    for (const [at, [id, { goneMs }]] of gone.entries())
      if (at < surplus || nowMs - goneMs > goneKeptMs) this.#rules.delete(id);
  }
}
