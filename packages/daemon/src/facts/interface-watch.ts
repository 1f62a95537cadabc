import type { InterfaceFacts } from "@bpfleet/kernel";
import { NetlinkSocket } from "@bpfleet/native";
import { decodeEvent, eventGroups, mainTable, parseMessages } from "@bpfleet/netlink";
import { EventReader } from "./event-reader.ts";
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
  readonly #reader: EventReader;
  #isClosed = false;
  #isTelling = false;
  #held: ReadonlySet<string> = new Set();
  #heldTimer: NodeJS.Timeout | undefined;

  private constructor(options: InterfaceWatchOptions) {
    this.#options = options;
    this.#reader = new EventReader({
      open: () => NetlinkSocket.open({ family: "route", groups, window: 256 }),
      onEvent: async ({ data }) => {
        await this.#accept(data);
        this.#tell();
      },
      onAnew: async () => {
        await this.#relist();
        this.#tell();
      },
      onTrouble: options.onTrouble,
    });
  }

  /** Resolves when the first list is complete; it is `list()`, not told to `onChange`. */
  static async start(options: InterfaceWatchOptions): Promise<InterfaceWatch> {
    const watch = new InterfaceWatch(options);
    try {
      // Events since the socket was opened wait in it and are applied on top of the list.
      await watch.#relist();
    } catch (error) {
      await watch.#reader[Symbol.asyncDispose]();
      throw error;
    }
    watch.#reader.start();
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
    await this.#reader[Symbol.asyncDispose]();
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

  async #accept(datagram: Uint8Array): Promise<void> {
    const events = parseMessages(datagram)
      .map(decodeEvent)
      .filter((event) => event !== undefined);
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

async function mainRoutes() {
  const rows = await dumpTable("route", { routeTable: mainTable });
  return rows.map(({ route }) => route);
}
