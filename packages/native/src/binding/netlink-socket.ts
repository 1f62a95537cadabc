import { native } from "./addon.ts";
import type { NativeNetlink } from "./addon.ts";
import { BpfError, call, closedError, codes, errnoNames } from "./bpf-error.ts";
import { withNetns } from "./netns.ts";
import type { Netns } from "./netns.ts";

export const netlinkFamilies = { route: 0, netfilter: 12, generic: 16 } as const;

export type NetlinkEvent =
  /** One datagram: one or more messages. */
  | {
      readonly kind: "data";
      readonly data: Buffer;
      /** Number of the namespace that it is about; undefined for the socket's own. */
      readonly namespaceId?: number | undefined;
    }
  /** The kernel had to drop messages (ENOBUFS): list again. */
  | { readonly kind: "overrun" };

export interface NetlinkOptions {
  family: keyof typeof netlinkFamilies | number;
  netns?: string | Netns;
  /** Group numbers (RTNLGRP_*), not bits. */
  groups?: readonly number[];
  /** Datagrams that may wait here untaken before the socket is left to fill; 64 when left out. */
  window?: number;
  /** Events of all namespaces that have a number in the socket's own come too; needs CAP_NET_BROADCAST there. */
  allNamespaces?: boolean;
}

/**
 * A netlink socket that one consumer reads, by `for await` or `next()`. What is not taken stays in the socket, and what
 * does not fit there is an "overrun".
 */
export class NetlinkSocket implements AsyncDisposable, AsyncIterable<NetlinkEvent> {
  readonly #socket: NativeNetlink;
  readonly #events: NetlinkEvent[] = [];
  #waiting: PromiseWithResolvers<NetlinkEvent | undefined> | undefined;
  #failure: Error | undefined;
  #isClosed = false;
  #lastSend: Promise<void> = Promise.resolve();

  private constructor(options: NetlinkOptions) {
    const { family, groups = [], window = 64, allNamespaces = false } = options;
    const spec = {
      protocol: typeof family === "number" ? family : netlinkFamilies[family],
      groups: [...groups],
      window,
      allNamespaces,
    };
    this.#socket = withNetns(options.netns, (netns) =>
      native().openNetlink(spec, netns, (data, errno, namespaceId) => this.#receive(data, errno, namespaceId)),
    );
  }

  static open(options: NetlinkOptions): NetlinkSocket {
    return new NetlinkSocket(options);
  }

  /** Sends one datagram; datagrams leave in the order of the calls. Resolves when the kernel has carried it out. */
  send(bytes: Uint8Array): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError("send to", "netlink socket"));
    const copy = Buffer.from(bytes);
    const sent = this.#lastSend.then(() => call(() => this.#socket.send(copy)));
    this.#lastSend = sent.catch(() => {});
    return sent;
  }

  /** The next event; undefined once closed. One caller at a time. */
  next(): Promise<NetlinkEvent | undefined> {
    if (this.#waiting) return Promise.reject(new TypeError("read netlink socket: somebody waits already"));
    const event = this.#events.shift();
    if (event) {
      this.#socket.taken(1);
      return Promise.resolve(event);
    }
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#isClosed) return Promise.resolve(undefined);
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<NetlinkEvent, void, undefined> {
    for (let event = await this.next(); event; event = await this.next()) yield event;
  }

  #receive(data: Buffer, errno: number, namespaceId: number): void {
    if (this.#isClosed) return;
    const errnoName = errnoNames.get(errno) ?? `errno ${errno}`;
    if (errno !== 0 && errnoName !== "ENOBUFS") {
      const details = {
        code: codes[errnoName] ?? "other",
        errno,
        errnoName,
        op: "read",
        verifierLog: "",
        warnings: "",
      } as const;
      this.#failure = new BpfError(`read netlink socket: it broke (${errnoName})`, details);
      this.#waiting?.reject(this.#failure);
      this.#waiting = undefined;
      return;
    }
    const event: NetlinkEvent =
      errno === 0
        ? { kind: "data", data, namespaceId: namespaceId < 0 ? undefined : namespaceId }
        : { kind: "overrun" };
    if (!this.#waiting) {
      this.#events.push(event);
      return;
    }
    this.#socket.taken(1);
    this.#waiting.resolve(event);
    this.#waiting = undefined;
  }

  /** Ends the reading; events not taken are dropped. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#events.length = 0;
    this.#waiting?.resolve(undefined);
    this.#waiting = undefined;
    return call(() => this.#socket.close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
