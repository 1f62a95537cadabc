import { NetlinkSocket } from "@bpfleet/native";
import { eventGroups } from "@bpfleet/netlink";
import { EventReader } from "../facts/event-reader.ts";

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
/** RTM_NEWLINK, RTM_DELLINK. */
const linkTypes = new Set([16, 17]);

/** When interfaces change, here and in the network namespaces of pods. */
export class LinkEvents implements AsyncDisposable {
  readonly #reader: EventReader;
  #hearsOthers = false;

  constructor({ onOwn, onOther, onLost, onTrouble }: LinkEventsOptions) {
    this.#reader = new EventReader({
      open: () => this.#open(),
      onEvent: ({ data, namespaceId }) => {
        if (namespaceId !== undefined) onOther(namespaceId);
        else if (linkTypes.has(data.readUInt16LE(4))) onOwn();
      },
      onAnew: onLost,
      onTrouble,
    });
    this.#reader.start();
  }

  /** Without CAP_NET_BROADCAST only this namespace is heard of. */
  get hearsOthers(): boolean {
    return this.#hearsOthers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader[Symbol.asyncDispose]();
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
