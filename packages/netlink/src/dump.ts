import { decodeEvent, type RouteItem } from "./item.ts";
import { messageFlags, parseMessages, readMessage, type Refusal } from "./message.ts";

/** How far the answer to one dump request has come. */
export type DumpProgress =
  | { readonly state: "more" }
  | { readonly state: "complete"; readonly items: readonly RouteItem[] }
  /** The table changed meanwhile, or datagrams were lost: ask again. */
  | { readonly state: "torn" }
  | { readonly state: "refused"; readonly refusal: Refusal };

/** Collects the parts of the answer to one dump request; messages of other sequences pass it by. */
export class DumpCollector {
  readonly #sequence: number;
  readonly #items: RouteItem[] = [];
  #isTorn = false;

  constructor(sequence: number) {
    this.#sequence = sequence;
  }

  /** Throws NetlinkError for bytes that are no netlink. */
  accept(datagram: Uint8Array): DumpProgress {
    for (const message of parseMessages(datagram)) {
      const reading = readMessage(message);
      if (reading.kind === "overrun") return { state: "torn" };
      if (message.sequence !== this.#sequence) continue;
      if ((message.flags & messageFlags.dumpInterrupted) !== 0) this.#isTorn = true;
      if (reading.kind === "refusal") return { state: "refused", refusal: reading.refusal };
      if (reading.kind === "done") return this.#isTorn ? { state: "torn" } : { state: "complete", items: this.#items };
      if (reading.kind === "data") {
        const item = decodeEvent(reading.message);
        if (item !== undefined) this.#items.push(item);
      }
    }
    return { state: "more" };
  }
}
