import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { errorText } from "@bpfleet/base";
import type { EndpointFacts, EndpointWish } from "@bpfleet/kernel";
import { mainTable, type Link } from "@bpfleet/netlink";
import { isOf, type AnnouncedPods } from "../cni/announced-pods.ts";
import type { Announcement } from "../cni/announcement.ts";
import { readMounts } from "../facts/mounts.ts";
import { dumpTable } from "../facts/netlink-dump.ts";
import {
  CgroupFolders,
  defaultRoutesOf,
  findNamespace,
  namespaceFolder,
  type FoundNamespace,
} from "./find-namespace.ts";
import { judgeEndpoint, usableLinks, waiting } from "./judge-endpoint.ts";
import { LinkEvents } from "./link-events.ts";
import { NamespaceQuery } from "./namespace-query.ts";
import { FolderWatches } from "./watch-folders.ts";

export type Endpoints = Readonly<Record<string, EndpointFacts>>;

export interface EndpointWatchOptions {
  /** Pods of which the one who made their interfaces has told. */
  readonly announced?: Pick<AnnouncedPods, "find"> | undefined;
  readonly onChange: (endpoints: Endpoints) => void;
  readonly onTrouble: (error: unknown) => void;
  /** Between two looks at an endpoint of which nothing is heard. */
  readonly slowMs?: number | undefined;
  readonly query?: Pick<NamespaceQuery, "idOf" | "links" | "addresses" | typeof Symbol.asyncDispose> | undefined;
}

/** What is looked for comes soon after something has happened. */
const firstRetryMs = 25;
/** No longer than it has already taken, after what was told last: a folder is told of, a process that enters it is not. */
const longestRetryMs = 10_000;
/** Events come before what they announce is whole: looks go on for so long. */
const stirredMs = 500;
/** A look in any case, since not everything tells of its changes. */
const slowMs = { withEvents: 30_000, without: 10_000 };
/** Looks in any case cost what a busy node has better use for: no more a second than 20. */
const gapOfLooksMs = 50;
/** Of the wait for a look, which may be cut short by so much to have several in one pass. */
const earlyShare = 0.1;
/** Between two looks at one endpoint; more where it changes all the time. */
const leastGapMs = 20;
const mostGapMs = 1000;

interface Entry {
  wish: EndpointWish;
  /** Of the last look. */
  facts: EndpointFacts | undefined;
  /** Number of its network namespace here. */
  id: number | undefined;
  /** The interfaces of the node that lead there, as they were at the last look. */
  hosts: string;
  lookedAt: number;
  changedAt: number;
  stirredAt: number;
  gapMs: number;
  retryMs: number;
  dueAt: number;
}

/** Finds where the traffic of pods can be judged, and follows them. */
export class EndpointWatch implements AsyncDisposable {
  readonly #options: EndpointWatchOptions;
  readonly #query: NonNullable<EndpointWatchOptions["query"]>;
  readonly #events: LinkEvents;
  readonly #folders = new FolderWatches((folder, name) => this.#onFolder(folder, name));
  readonly #entries = new Map<string, Entry>();
  #told: Endpoints = {};
  /** Interfaces of this namespace came, went or changed since the last look at them. */
  #areLinksOther = true;
  #links: readonly Link[] = [];
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;
  #passes: Promise<void> = Promise.resolve();
  /** At the whole of the present list. */
  #firstLook: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: EndpointWatchOptions) {
    this.#options = options;
    this.#query = options.query ?? new NamespaceQuery();
    this.#events = new LinkEvents({
      onOwn: () => {
        this.#areLinksOther = true;
        this.#wakeAt(performance.now());
      },
      onOther: (id) => {
        const now = performance.now();
        for (const entry of this.#entries.values()) if (entry.id === id) this.#ask(entry, now);
      },
      onLost: () => this.#askAll(),
      onTrouble: options.onTrouble,
    });
  }

  /** Replaces the earlier list. Resolves when all of it was looked for once. */
  watch(wishes: readonly EndpointWish[]): Promise<void> {
    const wanted = new Map(wishes.map((wish) => [wish.key, wish]));
    const now = performance.now();
    let isSame = true;
    for (const key of this.#entries.keys()) {
      if (wanted.has(key)) continue;
      this.#entries.delete(key);
      isSame = false;
    }
    for (const [key, wish] of wanted) {
      const before = this.#entries.get(key);
      if (before !== undefined && isSamePlace(before.wish, wish)) {
        before.wish = wish;
        continue;
      }
      // What is known holds until it was looked for anew.
      this.#entries.set(key, newEntry(wish, now, before?.facts));
      isSame = false;
    }
    return isSame ? this.#firstLook : (this.#firstLook = this.#pass());
  }

  /** Something was announced, or taken back: resolves when those whom it concerns were looked for. */
  async announcementsChanged(announced: Announcement): Promise<void> {
    const now = performance.now();
    for (const entry of this.#entries.values()) {
      if (!isOf(entry.wish, announced)) continue;
      entry.gapMs = leastGapMs;
      entry.stirredAt = now;
      entry.retryMs = firstRetryMs;
      entry.dueAt = now;
    }
    await this.#pass();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#folders[Symbol.dispose]();
    await this.#passes;
    await this.#events[Symbol.asyncDispose]();
    await this.#query[Symbol.asyncDispose]();
  }

  #onFolder(folder: string, name: string | undefined): void {
    const isNamespace = folder === namespaceFolder;
    for (const entry of this.#entries.values()) {
      const concerns = isNamespace ? name === undefined || entry.wish.netns === name : isMissing(entry);
      if (concerns) this.#stir(entry);
    }
  }

  #askAll(): void {
    for (const entry of this.#entries.values()) this.#stir(entry);
  }

  /** Something about it changes: it is looked at now and for a while. */
  #stir(entry: Entry): void {
    const now = performance.now();
    entry.stirredAt = now;
    entry.retryMs = firstRetryMs;
    this.#ask(entry, now);
  }

  #ask(entry: Entry, now: number): void {
    entry.dueAt = Math.min(entry.dueAt, Math.max(now, entry.lookedAt + entry.gapMs));
    this.#wakeAt(entry.dueAt);
  }

  #wakeAt(at: number): void {
    if (this.#isClosed || at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => void this.#pass(), Math.max(1, at - performance.now()));
    this.#timer.unref();
  }

  #pass(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timerAt = Infinity;
    this.#passes = this.#passes
      .then(() => this.#lookAtDue())
      .catch((error: unknown) => {
        this.#options.onTrouble(error);
        this.#wakeAt(performance.now() + mostGapMs);
      });
    return this.#passes;
  }

  async #lookAtDue(): Promise<void> {
    if (this.#isClosed) return;
    if (this.#entries.size > 0) {
      await this.#readLinks();
      const cgroups = new CgroupFolders(readMounts());
      const begun = performance.now();
      // A little early too: each pass asks for all interfaces of the node, and thousands would else be due one by one.
      const due = [...this.#entries.values()].filter(
        ({ dueAt, lookedAt }) => dueAt - (dueAt - lookedAt) * earlyShare <= begun,
      );
      for (const entry of due) {
        if (this.#isClosed) return;
        await this.#look(entry, cgroups);
      }
      if (this.#watchFolders(cgroups))
        for (const entry of this.#entries.values()) if (isMissing(entry)) this.#stir(entry);
    } else this.#folders.set(new Set());
    this.#tell();
    for (const { dueAt } of this.#entries.values()) this.#wakeAt(dueAt);
  }

  async #readLinks(): Promise<void> {
    const hadEvents = this.#areLinksOther;
    this.#areLinksOther = false;
    try {
      this.#links = await this.#query.links();
    } catch (error) {
      this.#areLinksOther ||= hadEvents;
      throw error;
    }
    if (!hadEvents) return;
    const byId = Map.groupBy(this.#links, ({ peerNetnsId }) => peerNetnsId);
    for (const entry of this.#entries.values()) {
      const isOther = entry.id !== undefined && hostsOf(byId.get(entry.id)) !== entry.hosts;
      if (isOther || isMissing(entry)) this.#stir(entry);
    }
  }

  async #look(entry: Entry, cgroups: CgroupFolders): Promise<void> {
    let facts: EndpointFacts;
    try {
      facts = await this.#find(entry, cgroups);
    } catch (error) {
      facts = waiting(`${errorText(error)}; it is tried again`);
    }
    const now = performance.now();
    entry.lookedAt = now;
    if (!isDeepStrictEqual(facts, entry.facts)) {
      entry.gapMs = now - entry.changedAt < mostGapMs ? Math.min(mostGapMs, entry.gapMs * 2) : leastGapMs;
      entry.changedAt = now;
      entry.facts = facts;
    }
    if (isMissing(entry) || now - entry.stirredAt < stirredMs) {
      entry.dueAt = now + entry.retryMs;
      entry.retryMs = Math.min(longestRetryMs, entry.retryMs * 2);
    } else {
      const usualMs = this.#events.hearsOthers ? slowMs.withEvents : slowMs.without;
      entry.dueAt = now + (this.#options.slowMs ?? Math.max(usualMs, this.#entries.size * gapOfLooksMs));
    }
  }

  async #find(entry: Entry, cgroups: CgroupFolders): Promise<EndpointFacts> {
    entry.id = undefined;
    entry.hosts = hostsOf(undefined);
    const announced = this.#options.announced?.find(entry.wish);
    if (announced !== undefined) {
      const facts = await this.#judgeAnnounced(entry, announced);
      if (facts?.found === true) return facts;
    }
    const namespace = findNamespace(entry.wish, cgroups);
    if (namespace.found === "nothing") return waiting(namespace.why);
    if (namespace.found === "own")
      return {
        found: false,
        isFinal: true,
        why: `${namespace.what} is the node's own (host network): its packets are the node's; write a policy for the host`,
      };
    try {
      const id = await this.#query.idOf(namespace.ref);
      if (id === undefined) return waiting(`${namespace.what} ended while it was looked at; it is looked for again`);
      return await this.#judge(entry, namespace.what, id, (links) => defaultRoutesIn(namespace.routesAt, links));
    } finally {
      namespace.close();
    }
  }

  /** No process is in it yet. What the one who made the interface says of it holds as long as it is there. */
  async #judgeAnnounced(entry: Entry, announced: Announcement): Promise<EndpointFacts | undefined> {
    const { namespaceId: id, ifname } = announced;
    if (id === undefined || !this.#links.some(({ peerNetnsId }) => peerNetnsId === id)) return undefined;
    const what = `the network namespace of container ${announced.container.slice(0, 12)}`;
    const facts = await this.#judge(entry, what, id, async () => new Set([ifname]));
    if (!facts.found) return facts;
    const addresses = [...new Set([...facts.addresses, ...announced.addresses])].toSorted();
    return { ...facts, addresses, namespaceId: id };
  }

  async #judge(
    entry: Entry,
    what: string,
    id: number,
    defaultRoutesOver: (links: readonly Link[]) => Promise<ReadonlySet<string>>,
  ): Promise<EndpointFacts> {
    const hostLinks = this.#links.filter(({ peerNetnsId }) => peerNetnsId === id);
    entry.id = id;
    entry.hosts = hostsOf(hostLinks);
    const links = await this.#query.links(id);
    const addresses = await this.#query.addresses(id);
    const defaultRoutes = usableLinks(links).length < 2 ? new Set<string>() : await defaultRoutesOver(links);
    return judgeEndpoint({ what, hostLinks, links, addresses, defaultRoutes });
  }

  /** Whether some are watched that were not: what happened in between is not known. */
  #watchFolders(cgroups: CgroupFolders): boolean {
    const folders = new Set<string>();
    for (const { wish, facts } of this.#entries.values()) {
      if (wish.netns !== undefined)
        folders.add(existsSync(namespaceFolder) ? namespaceFolder : dirname(namespaceFolder));
      else if (isMissing({ facts }))
        for (const folder of cgroups.of(wish.cgroups ?? [])) {
          const at = [folder, dirname(folder)].find((each) => cgroups.has(each));
          if (at !== undefined) folders.add(at);
        }
    }
    return this.#folders.set(folders);
  }

  #tell(): void {
    const entries = [...this.#entries].flatMap(([key, { facts }]) =>
      facts === undefined ? [] : [[key, facts] as const],
    );
    const endpoints = Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
    if (this.#isClosed || isDeepStrictEqual(endpoints, this.#told)) return;
    this.#told = endpoints;
    this.#options.onChange(endpoints);
  }
}

/** Where it is does not depend on whether policies select it. */
function isSamePlace(a: EndpointWish, b: EndpointWish): boolean {
  return isDeepStrictEqual({ ...a, isSelected: undefined }, { ...b, isSelected: undefined });
}

/** It may still come. */
function isMissing({ facts }: Pick<Entry, "facts">): boolean {
  return facts?.found !== true && facts?.isFinal !== true;
}

function newEntry(wish: EndpointWish, now: number, facts: EndpointFacts | undefined): Entry {
  return {
    wish,
    facts,
    id: undefined,
    hosts: "",
    lookedAt: -Infinity,
    changedAt: -Infinity,
    stirredAt: -Infinity,
    gapMs: leastGapMs,
    retryMs: firstRetryMs,
    dueAt: now,
  };
}

function hostsOf(links: readonly Link[] | undefined): string {
  return JSON.stringify(
    (links ?? []).map(({ ifindex, name, kind, peerIfindex }) => [ifindex, name, kind, peerIfindex]),
  );
}

async function defaultRoutesIn(
  at: (FoundNamespace & { found: "other" })["routesAt"],
  links: readonly Link[],
): Promise<ReadonlySet<string>> {
  if ("process" in at) return defaultRoutesOf(at.process);
  const rows = await dumpTable("route", { netns: at.namespace, routeTable: mainTable });
  const over = new Set(rows.flatMap(({ route }) => (route.isDefault ? route.hops.map(({ ifindex }) => ifindex) : [])));
  return new Set(links.filter(({ ifindex }) => over.has(ifindex)).map(({ name }) => name));
}
