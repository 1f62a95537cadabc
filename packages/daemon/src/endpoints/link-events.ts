import { setTimeout as sleep } from "node:timers/promises";
import { NetlinkSocket } from "@bpfleet/native";
import { eventGroups } from "@bpfleet/netlink";

export interface LinkEventsOptions {
  /** Interfaces of this network namespace changed. */
  readonly onOwn: () => void;
  /** Interfaces or addresses changed in the namespace with this number here. */
  readonly onOther: (namespaceId: number) => void;
  /** Some were missed. */
  readonly onLost: () => void;
  readonly onTrouble: (error: unknown) => void;
}

const groups = [eventGroups.link, eventGroups.ipv4Address, eventGroups.ipv6Address];
const reopenMs = 1000;
/** RTM_NEWLINK, RTM_DELLINK. */
const linkTypes = new Set([16, 17]);

/** When interfaces change, here and in the network namespaces of pods. */
export class LinkEvents implements AsyncDisposable {
  readonly #options: LinkEventsOptions;
  readonly #reading: Promise<void>;
  #socket: NetlinkSocket;
  #isClosed = false;
  #hearsOthers = false;

  constructor(options: LinkEventsOptions) {
    this.#options = options;
    this.#socket = this.#open();
    this.#reading = this.#read();
  }

  /** Without CAP_NET_BROADCAST only this namespace is heard of. */
  get hearsOthers(): boolean {
    return this.#hearsOthers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#socket.close();
    await this.#reading;
  }

  async #read(): Promise<void> {
    while (!this.#isClosed) {
      try {
        for await (const event of this.#socket) {
          if (event.kind === "overrun") break;
          if (event.namespaceId !== undefined) this.#options.onOther(event.namespaceId);
          else if (linkTypes.has(event.data.readUInt16LE(4))) this.#options.onOwn();
        }
        if (this.#isClosed) return;
        // After an overrun the kernel drops what comes until all was read: a new socket is empty.
        await this.#socket.close();
        this.#socket = this.#open();
        this.#options.onLost();
      } catch (error) {
        if (this.#isClosed) return;
        this.#options.onTrouble(error);
        await sleep(reopenMs);
      }
    }
  }

  #open(): NetlinkSocket {
    try {
      const socket = NetlinkSocket.open({ family: "route", groups, window: 256, allNamespaces: true });
      this.#hearsOthers = true;
      return socket;
    } catch {
      this.#hearsOthers = false;
      return NetlinkSocket.open({ family: "route", groups, window: 256 });
    }
  }
}
