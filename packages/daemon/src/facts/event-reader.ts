import { setTimeout as sleep } from "node:timers/promises";
import type { NetlinkEvent, NetlinkSocket } from "@bpfleet/native";

export type EventSource = Pick<NetlinkSocket, "close" | typeof Symbol.asyncIterator>;
type EventData = Extract<NetlinkEvent, { kind: "data" }>;

export interface EventReaderOptions {
  readonly open: () => EventSource;
  /** When it throws, the event is lost: as good as an overrun. */
  readonly onEvent: (event: EventData) => Promise<void> | void;
  /** Events were missed; what comes from here on waits until all is listed anew. */
  readonly onAnew: () => Promise<void> | void;
  /** It goes on by itself. */
  readonly onTrouble: (error: unknown) => void;
  readonly reopenMs?: number;
}

/**
 * Reads the events of netlink sockets, one after another. After an overrun the kernel says nothing of what it drops
 * until the socket was read empty, so a list made before that moment may be old for good; a new socket is empty. One
 * that broke never gives anything again.
 */
export class EventReader implements AsyncDisposable {
  readonly #options: EventReaderOptions;
  readonly #ending = new AbortController();
  #source: EventSource | undefined;
  #reading: Promise<void> | undefined;

  /** Throws when there is no first one. */
  constructor(options: EventReaderOptions) {
    this.#options = options;
    this.#source = options.open();
  }

  /** Events since the constructor wait until now. */
  start(): void {
    this.#reading = this.#read();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#closeSource();
    await this.#reading;
  }

  async #read(): Promise<void> {
    const { onTrouble, reopenMs = 1000 } = this.#options;
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await this.#readSource();
      } catch (error) {
        if (signal.aborted) return;
        onTrouble(error);
        await sleep(reopenMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** Until it overruns, breaks or is closed. */
  async #readSource(): Promise<void> {
    const { open, onEvent, onAnew } = this.#options;
    try {
      if (this.#source === undefined) {
        this.#source = open();
        await onAnew();
      }
      for await (const event of this.#source ?? []) {
        if (event.kind === "overrun") return;
        await onEvent(event);
      }
    } finally {
      await this.#closeSource();
    }
  }

  async #closeSource(): Promise<void> {
    const source = this.#source;
    this.#source = undefined;
    await source?.close();
  }
}
