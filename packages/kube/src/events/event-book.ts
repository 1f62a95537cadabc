import { renderMicroTime } from "../values/micro-time.ts";
import type { Happening, KubeEvent } from "./kube-event.ts";

export interface EventBookOptions {
  /** `bpfleet.io/agent` */
  readonly controller: string;
  /** The pod or the node that tells. */
  readonly instance: string;
  /** Kinds of happenings that are remembered, to be counted instead of told anew. */
  readonly most: number;
  /** A happening that comes again within so long is counted. */
  readonly seriesMs: number;
  /** The count is written at most so often. */
  readonly writeMs: number;
  /** Of one object: so many at once, and from then on one in so long. */
  readonly burst: number;
  readonly refillMs: number;
}

const defaultEventBookOptions = {
  most: 4096,
  seriesMs: 360_000,
  writeMs: 60_000,
  burst: 25,
  refillMs: 300_000,
} as const;

export type EventWrite =
  | { readonly do: "create"; readonly event: KubeEvent }
  /** `series` replaces that of the event; where it is gone the whole is created again. */
  | { readonly do: "count"; readonly event: KubeEvent };

interface Entry {
  event: KubeEvent;
  count: number;
  lastSeenMs: number;
  writtenAtMs: number;
  isWritten: boolean;
}

/** Which happenings become events, which are counted in one that was told, and which are too many to be told. */
export class EventBook {
  readonly #options: EventBookOptions;
  /** In the order in which they were last seen. */
  readonly #entries = new Map<string, Entry>();
  readonly #fullAtMs = new Map<string, number>();
  /** That many are remembered without a look at which of them may be forgotten. */
  #fullAtMost: number;
  #made = 0;
  /** Happenings that were not told because there were too many of one object. */
  suppressed = 0;

  constructor(options: Pick<EventBookOptions, "controller" | "instance"> & Partial<EventBookOptions>) {
    this.#options = { ...defaultEventBookOptions, ...options };
    this.#fullAtMost = this.#options.most;
  }

  /** What is remembered of happenings and objects. */
  get size(): number {
    return this.#entries.size + this.#fullAtMs.size;
  }

  /** What to write now, if anything; a later `due` writes what was counted. */
  note(happening: Happening, time: { readonly nowMs: number; readonly wallMs: number }): EventWrite | undefined {
    const { nowMs, wallMs } = time;
    const key = keyOf(happening);
    const entry = this.#entries.get(key);
    if (entry !== undefined && nowMs - entry.lastSeenMs < this.#options.seriesMs) {
      entry.count += 1;
      entry.lastSeenMs = nowMs;
      entry.isWritten = false;
      const series = { count: entry.count, lastObservedTime: renderMicroTime(wallMs) };
      entry.event = { ...entry.event, series };
      this.#entries.delete(key);
      this.#entries.set(key, entry);
      // The second time is news, further ones are told together.
      return entry.count === 2 ? this.#write(entry, nowMs) : undefined;
    }
    if (!this.#mayTell(happening, nowMs)) {
      this.suppressed += 1;
      return undefined;
    }
    const event = this.#make(happening, wallMs);
    this.#entries.delete(key);
    this.#entries.set(key, { event, count: 1, lastSeenMs: nowMs, writtenAtMs: nowMs, isWritten: true });
    this.#forget();
    return { do: "create", event };
  }

  /** The counts that are due to be written. */
  due(nowMs: number): readonly EventWrite[] {
    const writes: EventWrite[] = [];
    for (const [key, entry] of this.#entries) {
      if (!entry.isWritten && nowMs - entry.writtenAtMs >= this.#options.writeMs)
        writes.push(this.#write(entry, nowMs));
      if (entry.isWritten && nowMs - entry.lastSeenMs >= this.#options.seriesMs) this.#entries.delete(key);
    }
    return writes;
  }

  /** All counts that are not written yet, due or not. */
  counted(nowMs: number): readonly EventWrite[] {
    return [...this.#entries.values()].filter((entry) => !entry.isWritten).map((entry) => this.#write(entry, nowMs));
  }

  /** When `due` has something; Infinity when nothing is counted. */
  nextDueMs(): number {
    let next = Infinity;
    for (const entry of this.#entries.values())
      if (!entry.isWritten) next = Math.min(next, entry.writtenAtMs + this.#options.writeMs);
    return next;
  }

  #write(entry: Entry, nowMs: number): EventWrite {
    entry.isWritten = true;
    entry.writtenAtMs = nowMs;
    return { do: "count", event: entry.event };
  }

  #mayTell({ regarding }: Happening, nowMs: number): boolean {
    const { burst, refillMs } = this.#options;
    const object = `${regarding.kind}/${regarding.namespace ?? ""}/${regarding.name}/${regarding.uid ?? ""}`;
    const fullAtMs = Math.max(this.#fullAtMs.get(object) ?? nowMs, nowMs) + refillMs;
    if (fullAtMs - nowMs > burst * refillMs) return false;
    this.#fullAtMs.set(object, fullAtMs);
    if (this.#fullAtMs.size > this.#fullAtMost) this.#forgetFull(nowMs);
    return true;
  }

  /** Of which as many may be told as of one that is new. */
  #forgetFull(nowMs: number): void {
    for (const [object, fullAtMs] of this.#fullAtMs) if (fullAtMs <= nowMs) this.#fullAtMs.delete(object);
    this.#fullAtMost = Math.max(this.#options.most, 2 * this.#fullAtMs.size);
  }

  #make(happening: Happening, wallMs: number): KubeEvent {
    const { controller, instance } = this.#options;
    const { regarding, related, type, reason, action, note } = happening;
    this.#made += 1;
    const number = Math.round(wallMs * 1000) + (this.#made % 1000);
    return {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: {
        name: `${regarding.name.slice(0, 230)}.${number.toString(16)}`,
        // Events of cluster-scoped objects live in this namespace by the API's own rule.
        namespace: regarding.namespace || "default",
      },
      eventTime: renderMicroTime(wallMs),
      reportingController: controller.slice(0, 128),
      reportingInstance: instance.slice(0, 128),
      type,
      reason: reason.slice(0, 128),
      action: action.slice(0, 128),
      note: limitBytes(note, 1024),
      regarding,
      ...(related === undefined ? {} : { related }),
    };
  }

  #forget(): void {
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= this.#options.most) return;
      this.#entries.delete(key);
    }
  }
}

function keyOf({ regarding, related, type, reason, action, note }: Happening): string {
  const parts = [regarding.kind, regarding.namespace, regarding.name, regarding.uid, related?.kind, related?.namespace];
  return JSON.stringify([...parts, related?.name, type, reason, action, note]);
}

/** The server counts bytes of UTF-8; a character is not cut in two. */
function limitBytes(text: string, most: number): string {
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (bytes > most - 3) return `${text.slice(0, end)}…`;
    end += character.length;
  }
  return text;
}
