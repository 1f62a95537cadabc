import { EventBook, events, isApiError, unanswered } from "@bpfleet/kube";
import type { ApiError, EventBookOptions, EventWrite, Happening, KubeEvent } from "@bpfleet/kube";
import { saidBy } from "../http/transport.ts";
import { at } from "../kube-client.ts";
import type { KubeClient } from "../kube-client.ts";
import { systemTiming } from "../timing.ts";
import type { Timing } from "../timing.ts";

export interface EventRecorderOptions
  extends
    Pick<EventBookOptions, "controller" | "instance">,
    Partial<Omit<EventBookOptions, "controller" | "instance">> {
  readonly timing?: Timing | undefined;
  /** Told of what could not be written; the recorder goes on. */
  readonly onFault?: ((error: ApiError) => void) | undefined;
}

/** Writes events by the way: whoever records never waits and never fails. */
export interface EventRecorder extends AsyncDisposable {
  record(happening: Happening): void;
  /** Ends when all that was recorded is written or given up, counts too. */
  flush(): Promise<void>;
  /** Happenings that were not told: too many of one object, or more than could be written. */
  readonly dropped: number;
}

const mostWaiting = 1000;
const tries = 3;

export function createEventRecorder(client: KubeClient, options: EventRecorderOptions): EventRecorder {
  return new ClientEventRecorder(client, options);
}

class ClientEventRecorder implements EventRecorder {
  readonly #client: KubeClient;
  readonly #options: EventRecorderOptions;
  readonly #timing: Timing;
  readonly #book: EventBook;
  readonly #stop = new AbortController();
  #waiting: EventWrite[] = [];
  #writing: Promise<void> | undefined;
  #timer: { readonly dueMs: number; readonly cancel: AbortController } | undefined;
  #overflowed = 0;

  constructor(client: KubeClient, options: EventRecorderOptions) {
    this.#client = client;
    this.#options = options;
    this.#timing = options.timing ?? systemTiming;
    this.#book = new EventBook(options);
  }

  get dropped(): number {
    return this.#overflowed + this.#book.suppressed;
  }

  record(happening: Happening): void {
    if (this.#stop.signal.aborted) return;
    const write = this.#book.note(happening, { nowMs: this.#timing.monotonicMs(), wallMs: this.#timing.now() });
    if (write !== undefined) this.#add(write);
    this.#wakeAt(this.#book.nextDueMs());
  }

  async flush(): Promise<void> {
    for (const write of this.#book.counted(this.#timing.monotonicMs())) this.#add(write);
    while (this.#writing !== undefined) await this.#writing;
  }

  /** What waits is given one more try, counts are written. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.cancel.abort();
    const flushed = this.flush();
    this.#stop.abort();
    await flushed;
  }

  #add(write: EventWrite): void {
    this.#waiting.push(write);
    if (this.#waiting.length > mostWaiting) {
      this.#waiting.shift();
      this.#overflowed += 1;
    }
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = undefined));
  }

  async #writeAll(): Promise<void> {
    for (let write = this.#waiting.shift(); write !== undefined; write = this.#waiting.shift())
      await this.#write(write);
  }

  async #write(write: EventWrite): Promise<void> {
    for (let count = 1; ; count++) {
      try {
        if (write.do === "create") await this.#client.create<KubeEvent>(at(events, write.event.metadata), write.event);
        else await this.#count(write.event);
        return;
      } catch (cause) {
        const error = isApiError(cause) ? cause : unanswered("write an event", saidBy(cause), cause);
        const isFinal = error.retry !== "backoff" || count >= tries || this.#stop.signal.aborted;
        // Its namespace goes, or an answer was lost and it is there already.
        if (error.isAlreadyExists) return;
        if (isFinal) {
          this.#overflowed += 1;
          return this.#options.onFault?.(error);
        }
        await this.#timing.sleep(error.retryAfterMs ?? 1000 * 2 ** (count - 1), this.#stop.signal);
      }
    }
  }

  async #count(event: KubeEvent): Promise<void> {
    try {
      await this.#client.patch(at(events, event.metadata), { series: event.series }, { type: "merge" });
    } catch (cause) {
      // Events live an hour; the series goes on in a new one.
      if (!isApiError(cause) || !cause.isNotFound) throw cause;
      await this.#client.create<KubeEvent>(at(events, event.metadata), event);
    }
  }

  #wakeAt(dueMs: number): void {
    if (dueMs === Infinity || (this.#timer !== undefined && this.#timer.dueMs <= dueMs)) return;
    this.#timer?.cancel.abort();
    const timer = { dueMs, cancel: new AbortController() };
    this.#timer = timer;
    void this.#timing.sleep(Math.max(0, dueMs - this.#timing.monotonicMs()), timer.cancel.signal).then(() => {
      if (timer.cancel.signal.aborted) return;
      this.#timer = undefined;
      for (const write of this.#book.due(this.#timing.monotonicMs())) this.#add(write);
      this.#wakeAt(this.#book.nextDueMs());
    });
  }
}
