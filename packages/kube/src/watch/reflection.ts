import type { ApiObject, ObjectMeta } from "../api-object.ts";
import { objectKey } from "../api-object.ts";
import type { ApiError } from "../api-error.ts";
import { compareResourceVersions } from "../resource.ts";
import { defaultWatchPolicy } from "./watch-policy.ts";
import type { WatchPolicy } from "./watch-policy.ts";

/** What to do next; one thing at a time, and what came of it is told by `see`. */
export type NextStep =
  | { readonly do: "list"; readonly query: WatchQuery }
  | { readonly do: "watch"; readonly query: WatchQuery; readonly silenceMs: number }
  | { readonly do: "wait"; readonly ms: number };

export type WatchQuery = Readonly<Record<string, string>>;

export type Sight<T extends ApiObject> =
  /** Some objects of the page that is being read. */
  | { readonly saw: "items"; readonly items: readonly T[] }
  | { readonly saw: "page-end"; readonly resourceVersion: string; readonly next?: string | undefined }
  | { readonly saw: "opened" }
  | { readonly saw: "event"; readonly type: string; readonly object: T }
  /** The watch is over: told by the server, cut off, silent for too long, or not to be understood. */
  | { readonly saw: "ended"; readonly because: "server" | "cut" | "silence" | "garbage" }
  /** The list or the watch was refused, or an event of type ERROR came. */
  | { readonly saw: "failed"; readonly error: ApiError }
  | { readonly saw: "waited" };

export type Reflected<T extends ApiObject> =
  /** Everything there is; what is not in it is gone. */
  | { readonly change: "replace"; readonly objects: ReadonlyMap<string, T>; readonly resourceVersion: string }
  | { readonly change: "upsert"; readonly object: T }
  | { readonly change: "delete"; readonly object: T };

type Phase = "list" | "initial-events" | "watch";

const initialEventsEnd = "k8s.io/initial-events-end";

/**
 * Follows one collection: what to ask the server next, and what its answers mean. It does nothing itself
 * and knows no clock: the time and chance come in as arguments.
 */
export class Reflection<T extends ApiObject> {
  readonly #policy: WatchPolicy;
  readonly #random: () => number;
  #phase: Phase;
  #version: string | undefined;
  /** The list in the making; the cache keeps the old one until this is whole. */
  #collected = new Map<string, T>();
  #pageToken: string | undefined;
  #isPaged = true;
  #mustBeLatest: boolean;
  #servesWatchList: boolean;
  #fruitlessInitialEvents = 0;
  /** How often in a row the wait was doubled. */
  #failures = 0;
  #waitMs = 0;
  #openedAtMs: number | undefined;
  #sawSomething = false;
  #emptyWatches = 0;

  constructor(policy: Partial<WatchPolicy> = {}, random: () => number = () => 0) {
    this.#policy = { ...defaultWatchPolicy, ...policy };
    this.#random = random;
    this.#servesWatchList = this.#policy.usesWatchList;
    this.#mustBeLatest = this.#policy.startFrom === "latest";
    this.#phase = this.#servesWatchList ? "initial-events" : "list";
  }

  /** The version up to which everything was seen; `undefined` before the first whole list. */
  get resourceVersion(): string | undefined {
    return this.#version;
  }

  get phase(): Phase {
    return this.#phase;
  }

  next(): NextStep {
    if (this.#waitMs > 0) return { do: "wait", ms: this.#waitMs };
    if (this.#phase === "list") return { do: "list", query: this.#listQuery() };
    return { do: "watch", query: this.#watchQuery(), silenceMs: this.#policy.silenceMs };
  }

  see(sight: Sight<T>, nowMs: number): Reflected<T> | undefined {
    switch (sight.saw) {
      case "waited":
        this.#waitMs = 0;
        return undefined;
      case "items":
        for (const item of sight.items) this.#collected.set(objectKey(item), item);
        return undefined;
      case "page-end":
        return this.#endPage(sight);
      case "opened":
        this.#openedAtMs = nowMs;
        this.#sawSomething = false;
        return undefined;
      case "event":
        return this.#event(sight.type, sight.object, nowMs);
      case "ended":
        this.#end(sight.because, nowMs);
        return undefined;
      case "failed":
        this.#fail(sight.error, nowMs);
        return undefined;
    }
  }

  #endPage({
    resourceVersion,
    next,
  }: {
    resourceVersion: string;
    next?: string | undefined;
  }): Reflected<T> | undefined {
    if (next !== undefined && next !== "") {
      this.#pageToken = next;
      return undefined;
    }
    return this.#complete(resourceVersion);
  }

  #complete(resourceVersion: string): Reflected<T> {
    const objects = this.#collected;
    this.#collected = new Map();
    this.#pageToken = undefined;
    this.#isPaged = true;
    this.#fruitlessInitialEvents = 0;
    this.#version = resourceVersion;
    this.#phase = "watch";
    return { change: "replace", objects, resourceVersion };
  }

  #event(type: string, object: T, nowMs: number): Reflected<T> | undefined {
    const meta: Partial<ObjectMeta> | undefined = object.metadata;
    const version = meta?.resourceVersion;
    this.#sawSomething = true;
    if (version === undefined || version === "") return this.#misunderstood(nowMs);
    if (type === "BOOKMARK") return this.#bookmark(version, meta?.annotations, nowMs);
    const isNamed = typeof meta?.name === "string" && meta.name !== "";
    if (!isNamed || (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED")) return this.#misunderstood(nowMs);
    if (this.#phase === "initial-events") {
      if (type === "DELETED") this.#collected.delete(objectKey(object));
      else this.#collected.set(objectKey(object), object);
      return undefined;
    }
    if (this.#isBack(version)) return this.#misunderstood(nowMs);
    this.#version = version;
    return { change: type === "DELETED" ? "delete" : "upsert", object };
  }

  #bookmark(version: string, annotations: ObjectMeta["annotations"], nowMs: number): Reflected<T> | undefined {
    if (this.#phase !== "initial-events") {
      // A store put back from a copy has older versions than ours: nothing would ever come of waiting for ours.
      if (this.#isBack(version)) return this.#misunderstood(nowMs);
      this.#version = version;
      return undefined;
    }
    if (annotations?.[initialEventsEnd] === "true") return this.#complete(version);
    // Servers before 1.27 know nothing of initial events and never end them.
    this.#servesWatchList = false;
    this.#startOver();
    return undefined;
  }

  #isBack(version: string): boolean {
    return this.#version !== undefined && (compareResourceVersions(version, this.#version) ?? 0) < 0;
  }

  /** Whether the stream is still of use; when not, it is to be closed and `next` asked. */
  get wantsStream(): boolean {
    return this.#phase !== "list" && this.#waitMs === 0 && this.#openedAtMs !== undefined;
  }

  #misunderstood(nowMs: number): undefined {
    this.#end("garbage", nowMs);
  }

  #end(because: "server" | "cut" | "silence" | "garbage", nowMs: number): void {
    const livedMs = this.#openedAtMs === undefined ? 0 : nowMs - this.#openedAtMs;
    this.#openedAtMs = undefined;
    if (livedMs >= this.#policy.healthyAfterMs) this.#failures = 0;
    if (this.#phase === "watch" && because !== "garbage" && !this.#isHopeless(livedMs)) {
      const isUsual = because !== "cut" && (this.#sawSomething || livedMs >= this.#policy.shortestWatchMs);
      if (!isUsual) this.#backOff();
      return;
    }
    if (this.#phase === "initial-events" && because !== "garbage") {
      this.#fruitlessInitialEvents += 1;
      if (this.#fruitlessInitialEvents >= this.#policy.initialEventsTries) this.#servesWatchList = false;
    }
    this.#mustBeLatest = true;
    this.#startOver();
    this.#backOff();
  }

  /**
   * Long watches without so much as a bookmark: the server may be waiting for a version that its store, put back from
   * a copy, will not reach for long.
   */
  #isHopeless(livedMs: number): boolean {
    if (this.#sawSomething) this.#emptyWatches = 0;
    else if (livedMs >= this.#policy.silenceMs) this.#emptyWatches += 1;
    if (this.#emptyWatches < this.#policy.emptyWatchesTries) return false;
    this.#emptyWatches = 0;
    return true;
  }

  #fail(error: ApiError, nowMs: number): void {
    const livedMs = this.#openedAtMs === undefined ? 0 : nowMs - this.#openedAtMs;
    this.#openedAtMs = undefined;
    if (livedMs >= this.#policy.healthyAfterMs) this.#failures = 0;
    if (error.isExpired) return this.#expire();
    if (this.#phase === "initial-events" && isRefusedOption(error)) {
      this.#servesWatchList = false;
      return this.#startOver();
    }
    if (this.#phase !== "watch") {
      // A version from the future of this server: it is behind, or its store was put back.
      if (error.status === 504) this.#mustBeLatest = true;
      this.#startOver();
    } else if (error.status === 400 || error.status === 422) {
      this.#startOver();
    }
    this.#backOff(error.retryAfterMs, error.isNotFound ? this.#policy.longestUnknownWaitMs : undefined);
  }

  #expire(): void {
    // The first expiry is what happens; expiry again and again is a reason to wait.
    const wasWatching = this.#phase === "watch";
    if (this.#pageToken !== undefined) this.#isPaged = false;
    this.#mustBeLatest = true;
    this.#startOver();
    if (!wasWatching || this.#failures > 0) this.#backOff();
    else this.#failures = 1;
  }

  #startOver(): void {
    this.#collected = new Map();
    this.#pageToken = undefined;
    this.#phase = this.#servesWatchList ? "initial-events" : "list";
    this.#openedAtMs = undefined;
  }

  #backOff(atLeastMs = 0, longestWaitMs = this.#policy.longestWaitMs): void {
    const { firstWaitMs } = this.#policy;
    const wait = Math.min(longestWaitMs, firstWaitMs * 2 ** this.#failures);
    // What fails in another way next, as the storage of a new kind does for a moment, is not to wait for all of these.
    if (wait < longestWaitMs) this.#failures += 1;
    this.#waitMs = Math.max(1, Math.round(Math.max(wait, atLeastMs) * (1 + this.#random())));
  }

  #listQuery(): WatchQuery {
    const limit = this.#isPaged ? { limit: String(this.#policy.pageSize) } : {};
    if (this.#pageToken !== undefined) return { ...limit, continue: this.#pageToken };
    if (this.#mustBeLatest) return limit;
    // From the server's memory: any state that it has, but none older than what was seen already.
    const resourceVersion = this.#version ?? "0";
    return { ...limit, resourceVersion, resourceVersionMatch: "NotOlderThan" };
  }

  #watchQuery(): WatchQuery {
    const { shortestWatchSeconds } = this.#policy;
    const base = {
      watch: "true",
      allowWatchBookmarks: "true",
      timeoutSeconds: String(Math.round(shortestWatchSeconds * (1 + this.#random()))),
    };
    if (this.#phase === "watch") return { ...base, resourceVersion: this.#version ?? "" };
    return {
      ...base,
      sendInitialEvents: "true",
      resourceVersionMatch: "NotOlderThan",
      ...(this.#mustBeLatest ? {} : { resourceVersion: this.#version ?? "0" }),
    };
  }
}

/** 400 and 422: the server knows the option and does not serve it. */
function isRefusedOption(error: ApiError): boolean {
  return error.status === 400 || error.status === 422;
}
