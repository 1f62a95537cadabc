import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { KernelError } from "@bpfleet/base";
import { NetlinkSocket } from "@bpfleet/native";
import {
  decodeNamespaceId,
  DumpCollector,
  encodeDumpRequest,
  encodeNamespaceIdRequest,
  encodeNewNamespaceId,
  parseMessages,
  readMessage,
  type Address,
  type Link,
  type NamespaceRef,
  type Reading,
  type Refusal,
  type RouteItem,
} from "@bpfleet/netlink";

const attempts = 5;

export type QuerySocket = Pick<NetlinkSocket, "send" | "close" | typeof Symbol.asyncIterator>;

/** Questions about other network namespaces, asked in this one: nothing is entered, and no process is traced. */
export class NamespaceQuery implements AsyncDisposable {
  readonly #open: () => QuerySocket;
  #socket: QuerySocket | undefined;
  #isClosed = false;
  #sequence = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(open: () => QuerySocket = () => NetlinkSocket.open({ family: "route" })) {
    this.#open = open;
    this.#socket = open();
  }

  /** Its number here, a new one where it has none; `undefined`: there is no such namespace. */
  idOf(which: NamespaceRef): Promise<number | undefined> {
    return this.#inTurn(async () => {
      const known = await this.#ask((sequence) => encodeNamespaceIdRequest(which, sequence));
      if (known.kind !== "data") return undefined;
      const id = decodeNamespaceId(known.message);
      if (id !== undefined) return id;
      // Refused when it has got one meanwhile.
      await this.#ask((sequence) => encodeNewNamespaceId(which, sequence));
      const given = await this.#ask((sequence) => encodeNamespaceIdRequest(which, sequence));
      return given.kind === "data" ? decodeNamespaceId(given.message) : undefined;
    });
  }

  /** Interfaces of this namespace, or of the one with this number. */
  async links(namespaceId?: number): Promise<readonly Link[]> {
    const rows = await this.#dump("link", namespaceId);
    return rows.flatMap((row) => (row.table === "link" ? [row.link] : []));
  }

  async addresses(namespaceId: number): Promise<readonly Address[]> {
    const rows = await this.#dump("address", namespaceId);
    return rows.flatMap((row) => (row.table === "address" ? [row.address] : []));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#closeSocket();
    await this.#turn;
  }

  async #ask(encode: (sequence: number) => Uint8Array): Promise<Reading> {
    const sequence = ++this.#sequence;
    const socket = this.#openSocket();
    await socket.send(encode(sequence));
    for await (const event of socket) {
      // The answer may be what was lost.
      if (event.kind === "overrun") break;
      const answer = parseMessages(event.data).find((message) => message.sequence === sequence);
      if (answer !== undefined) return readMessage(answer);
    }
    return { kind: "overrun" };
  }

  #dump(table: "link" | "address", namespaceId: number | undefined): Promise<readonly RouteItem[]> {
    return this.#inTurn(async () => {
      for (let attempt = 0; attempt < attempts; attempt++) {
        const items = await this.#dumpOnce(table, namespaceId);
        if (items !== undefined) return items;
      }
      throw new KernelError(`list ${table}s of a network namespace: it changed during each of ${attempts} attempts`, {
        code: "stale",
        call: "RTM_GET",
        retry: "backoff",
      });
    });
  }

  async #dumpOnce(
    table: "link" | "address",
    namespaceId: number | undefined,
  ): Promise<readonly RouteItem[] | undefined> {
    const sequence = ++this.#sequence;
    const collector = new DumpCollector(sequence);
    const socket = this.#openSocket();
    await socket.send(encodeDumpRequest(table, { sequence, namespaceId }));
    for await (const event of socket) {
      if (event.kind === "overrun") return undefined;
      const progress = collector.accept(event.data);
      if (progress.state === "complete") return progress.items;
      if (progress.state === "torn") return undefined;
      if (progress.state === "refused") throw refused(table, progress.refusal);
    }
    return undefined;
  }

  /** One question at a time: the kernel gives one list to a socket. */
  #inTurn<T>(ask: () => Promise<T>): Promise<T> {
    const answer = this.#turn.then(async () => {
      try {
        return await ask();
      } catch (error) {
        // One that broke never gives anything again; the kernel's own refusals come by one that works.
        if (!(error instanceof KernelError)) await this.#closeSocket();
        throw error;
      }
    });
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  #openSocket(): QuerySocket {
    if (this.#isClosed) throw new TypeError("ask about network namespaces: it is closed");
    return (this.#socket ??= this.#open());
  }

  async #closeSocket(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    await socket?.close();
  }
}

function refused(table: string, { errno, text }: Refusal): KernelError {
  const name = getSystemErrorName(-errno);
  return new KernelError(`list ${table}s of a network namespace: ${text || getSystemErrorMessage(-errno)} (${name})`, {
    code: "not-found",
    call: "RTM_GET",
    errno: name,
    retry: "backoff",
  });
}
