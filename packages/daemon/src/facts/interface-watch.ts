import { setTimeout as sleep } from "node:timers/promises";
import type { InterfaceFacts } from "@bpfleet/kernel";
import { NetlinkSocket } from "@bpfleet/native";
import { decodeEvent, eventGroups, mainTable, NetlinkError, parseMessages, type RouteEvent } from "@bpfleet/netlink";
import { hasXdp, InterfaceTable } from "./interface-table.ts";
import { dumpTable } from "./netlink-dump.ts";

const groups = [
  eventGroups.link,
  eventGroups.ipv4Address,
  eventGroups.ipv6Address,
  eventGroups.ipv4Route,
  eventGroups.ipv6Route,
  eventGroups.trafficControl,
];
const reopenMs = 1000;
/** Between two looks at hooks that others hold. */
const heldMs = 500;

export interface InterfaceWatchOptions {
  /** `freed`: names of interfaces that an XDP program or a filter of tc left. */
  readonly onChange: (interfaces: readonly InterfaceFacts[], freed: ReadonlySet<string>) => void;
  /** Events were lost or the socket broke; it goes on by itself. */
  readonly onTrouble: (error: unknown) => void;
}

/** The interfaces of this network namespace, told again whenever something about them changed. */
export class InterfaceWatch implements AsyncDisposable {
  readonly #options: InterfaceWatchOptions;
  readonly #table = new InterfaceTable();
  #socket: NetlinkSocket;
  #isClosed = false;
  #isTelling = false;
  #reading: Promise<void> | undefined;
  #held: ReadonlySet<string> = new Set();
  #heldTimer: NodeJS.Timeout | undefined;

  private constructor(options: InterfaceWatchOptions) {
    this.#options = options;
    this.#socket = open();
  }

  /** Resolves when the first list is complete; it is `list()`, not told to `onChange`. */
  static async start(options: InterfaceWatchOptions): Promise<InterfaceWatch> {
    const watch = new InterfaceWatch(options);
    try {
      // Events since the socket was opened wait in it and are applied on top of the list.
      await watch.#relist();
    } catch (error) {
      await watch.#socket.close();
      throw error;
    }
    watch.#reading = watch.#read();
    return watch;
  }

  list(): InterfaceFacts[] {
    return this.#table.list();
  }

  /** On these others have an XDP program. The kernel is silent when it goes with its link, so it is looked for. */
  watchHeld(names: ReadonlySet<string>): void {
    this.#held = names;
    if (names.size === 0 || this.#isClosed) return this.#endHeld();
    this.#heldTimer ??= setInterval(() => void this.#lookAtHeld(), heldMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#endHeld();
    await this.#socket.close();
    await this.#reading;
  }

  async #lookAtHeld(): Promise<void> {
    try {
      const links = await dumpTable("link");
      const free = links.flatMap(({ link }) => (this.#held.has(link.name) && !hasXdp(link) ? [link.name] : []));
      if (free.length > 0 && !this.#isClosed) this.#options.onChange(this.#table.list(), new Set(free));
    } catch (error) {
      this.#options.onTrouble(error);
    }
  }

  #endHeld(): void {
    clearInterval(this.#heldTimer);
    this.#heldTimer = undefined;
  }

  async #read(): Promise<void> {
    while (!this.#isClosed) {
      try {
        await this.#readUntilOverrun();
        if (!this.#isClosed) await this.#startAnew();
      } catch (error) {
        if (this.#isClosed) return;
        this.#options.onTrouble(error);
        await sleep(reopenMs);
      }
    }
  }

  async #readUntilOverrun(): Promise<void> {
    for await (const event of this.#socket) {
      if (event.kind === "overrun") return;
      await this.#accept(event.data);
      this.#tell();
    }
  }

  /**
   * After an overrun the kernel says nothing of what it drops until the socket was read empty, so a list
   * made before that moment may be old for good. A new socket is empty.
   */
  async #startAnew(): Promise<void> {
    await this.#socket.close();
    if (this.#isClosed) return;
    this.#socket = open();
    try {
      await this.#relist();
    } catch (error) {
      // Events on top of no list mean nothing; the next attempt opens another one.
      await this.#socket.close();
      throw error;
    }
    this.#tell();
  }

  async #accept(datagram: Uint8Array): Promise<void> {
    let events: RouteEvent[];
    try {
      events = parseMessages(datagram)
        .map(decodeEvent)
        .filter((event) => event !== undefined);
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      // What it said is lost: as good as an overrun.
      this.#options.onTrouble(error);
      return this.#relist();
    }
    const answers = events.map((event) => this.#table.apply(event));
    if (answers.includes("routes")) this.#table.resetRoutes(await mainRoutes());
  }

  async #relist(): Promise<void> {
    const [links, addresses, routes] = await Promise.all([dumpTable("link"), dumpTable("address"), mainRoutes()]);
    this.#table.reset(
      links.map(({ link }) => link),
      addresses.map(({ address }) => address),
      routes,
    );
  }

  /** Datagrams come in bursts: one call for all that are there. */
  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    setImmediate(() => {
      this.#isTelling = false;
      if (!this.#isClosed) this.#options.onChange(this.#table.list(), this.#table.takeFreed());
    });
  }
}

function open(): NetlinkSocket {
  return NetlinkSocket.open({ family: "route", groups, window: 256 });
}

async function mainRoutes() {
  const rows = await dumpTable("route", { routeTable: mainTable });
  return rows.map(({ route }) => route);
}
