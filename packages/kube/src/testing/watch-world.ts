import { refusal } from "../api-error.ts";
import type { ApiError } from "../api-error.ts";
import type { ApiObject } from "../api-object.ts";
import { objectKey } from "../api-object.ts";
import type { CacheChange } from "../watch/object-cache.ts";
import { ObjectCache } from "../watch/object-cache.ts";
import { Reflection } from "../watch/reflection.ts";
import type { Sight, WatchQuery } from "../watch/reflection.ts";
import type { WatchPolicy } from "../watch/watch-policy.ts";
import { chanceOf } from "./chance.ts";

export interface WatchWorldOptions {
  readonly seed: number;
  readonly policy: Partial<WatchPolicy>;
  /** What the server makes of `sendInitialEvents`: serves it, refuses it, or does not know it. */
  readonly watchList: "served" | "refused" | "unknown";
  /** Chance of a fault at each step. */
  readonly faults: number;
  /** Chance that the store forgets its past at each step. */
  readonly compaction: number;
}

interface Thing extends ApiObject {
  readonly data: number;
}

interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  readonly object: Thing;
}

/** A store with a history, a server that fails in every way, and one that follows it; all by chance of a seed. */
export class WatchWorld {
  readonly random: () => number;
  readonly #options: WatchWorldOptions;
  readonly #objects = new Map<string, Thing>();
  #history: Change[] = [];
  /** What lists of several pages are read from. */
  readonly #pasts = new Map<number, readonly Thing[]>();
  #version = 100;
  /** Changes up to this version are forgotten. */
  #forgotten = 100;
  #nowMs = 0;
  #uid = 0;
  #isCalm = false;
  readonly reflection: Reflection<Thing>;
  readonly cache = new ObjectCache<Thing>({ even: (thing) => [String(thing.data % 2 === 0)] });
  /** What somebody who is told of changes only would have. */
  readonly told = new Map<string, Thing>();
  readonly complaints: string[] = [];
  longestWaitMs = 0;
  lists = 0;
  watches = 0;

  constructor(options: WatchWorldOptions) {
    this.#options = options;
    this.random = chanceOf(options.seed);
    this.reflection = new Reflection<Thing>(options.policy, this.random);
  }

  calm(): void {
    this.#isCalm = true;
  }

  /** What the store holds. */
  truth(): ReadonlyMap<string, Thing> {
    return new Map([...this.#objects].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step++) {
      this.#mutate();
      const next = this.reflection.next();
      if (next.do === "wait") {
        this.longestWaitMs = Math.max(this.longestWaitMs, next.ms);
        this.#nowMs += next.ms;
        this.#see({ saw: "waited" });
      } else if (next.do === "list") this.#list(next.query);
      else this.#watch(next.query);
    }
  }

  #mutate(): void {
    if (this.#isCalm) return;
    for (let count = Math.floor(4 * this.random()); count > 0; count--) this.#change();
    if (this.random() < this.#options.compaction) {
      this.#forgotten = this.#version - Math.floor(3 * this.random());
      this.#history = this.#history.filter(({ version }) => version > this.#forgotten);
    }
  }

  #change(): void {
    const name = `thing-${Math.floor(8 * this.random())}`;
    this.#version += 1 + Math.floor(3 * this.random());
    const before = this.#objects.get(name);
    const isDeletion = before !== undefined && this.random() < 0.3;
    const uid = before?.metadata.uid ?? String((this.#uid += 1));
    const metadata = { name, uid, resourceVersion: String(this.#version) };
    const object: Thing = { apiVersion: "v1", kind: "Thing", metadata, data: Math.floor(100 * this.random()) };
    if (isDeletion) this.#objects.delete(name);
    else this.#objects.set(name, object);
    const type = isDeletion ? "DELETED" : before === undefined ? "ADDED" : "MODIFIED";
    this.#history.push({ type, version: this.#version, object });
  }

  #list(query: WatchQuery): void {
    this.lists += 1;
    const all = [...this.truth().values()];
    const at = query["continue"] === undefined ? undefined : Number(query["continue"].split(":")[0]);
    if (this.#isFault()) return this.#see({ saw: "failed", error: this.#anyError() });
    if (at !== undefined && at < this.#forgotten) return this.#see({ saw: "failed", error: refusal("list", 410, {}) });
    const from = query["continue"] === undefined ? 0 : Number(query["continue"].split(":")[1]);
    const version = at ?? this.#version;
    const items = at === undefined ? all : (this.#pasts.get(at) ?? all);
    this.#pasts.set(version, items);
    const limit = query["limit"] === undefined ? Infinity : Number(query["limit"]);
    const page = items.slice(from, from + limit);
    this.#see({ saw: "items", items: page });
    // Half a page came, then the connection broke.
    if (this.#isFault()) return this.#see({ saw: "failed", error: this.#anyError() });
    const isLast = from + limit >= items.length;
    this.#see({
      saw: "page-end",
      resourceVersion: String(version),
      next: isLast ? undefined : `${version}:${from + limit}`,
    });
  }

  #watch(query: WatchQuery): void {
    this.watches += 1;
    const wantsInitial = query["sendInitialEvents"] === "true";
    if (wantsInitial && this.#options.watchList === "refused")
      return this.#see({ saw: "failed", error: refusal("watch", 422, { reason: "Invalid" }) });
    if (this.#isFault()) return this.#see({ saw: "failed", error: this.#anyError() });
    this.#see({ saw: "opened" });
    let from = Number(query["resourceVersion"] ?? "");
    if (!wantsInitial && from < this.#forgotten) {
      // By status or by an event of type ERROR: the client tells both alike.
      return this.#see({ saw: "failed", error: refusal("watch", 410, {}) });
    }
    if (wantsInitial) {
      from = this.#version;
      for (const object of this.truth().values()) if (!this.#send("ADDED", object)) return;
      const annotations = { "k8s.io/initial-events-end": "true" };
      const isKnown = this.#options.watchList === "served";
      if (!this.#send("BOOKMARK", bookmark(from, isKnown ? annotations : {}))) return;
    }
    for (let turn = Math.floor(6 * this.random()); turn >= 0; turn--) {
      this.#mutate();
      if (from < this.#forgotten) return this.#see({ saw: "failed", error: refusal("watch", 410, {}) });
      for (const { type, version, object } of this.#history.filter((change) => change.version > from)) {
        if (!this.#send(type, object)) return;
        from = version;
      }
      from = Math.max(from, this.#version);
      if (this.random() < 0.5 && !this.#send("BOOKMARK", bookmark(from))) return;
      this.#nowMs += 20_000 * this.random() ** 3;
    }
    this.#see({ saw: "ended", because: "server" });
  }

  /** False when the stream is over. */
  #send(type: string, object: Thing): boolean {
    if (this.#isFault()) {
      const kind = Math.floor(5 * this.random());
      if (kind === 0) this.#see({ saw: "failed", error: this.#anyError() });
      else if (kind === 1) this.#see({ saw: "event", type: "STRANGE", object });
      else if (kind === 2) this.#see({ saw: "event", type, object: { ...object, metadata: { name: "" } } });
      else this.#see({ saw: "ended", because: kind === 3 ? "cut" : "silence" });
      if (this.reflection.wantsStream) this.complaints.push("a stream is wanted after it broke");
      return false;
    }
    this.#see({ saw: "event", type, object });
    return this.reflection.wantsStream;
  }

  #see(sight: Sight<Thing>): void {
    const reflected = this.reflection.see(sight, this.#nowMs);
    if (reflected === undefined) return;
    const changes =
      reflected.change === "replace"
        ? this.cache.replace(reflected.objects)
        : reflected.change === "upsert"
          ? this.cache.upsert(reflected.object)
          : this.cache.remove(reflected.object);
    for (const change of changes) this.#tell(change);
  }

  #tell(change: CacheChange<Thing>): void {
    const known = this.told.get(change.key);
    if (change.key !== objectKey(change.object)) this.complaints.push(`${change.key} is not the key of its object`);
    if (change.type === "added" && known !== undefined) this.complaints.push(`${change.key} was added twice`);
    if (change.type !== "added" && known === undefined) this.complaints.push(`${change.key} ${change.type} unknown`);
    if (change.type === "updated" && change.before !== known) this.complaints.push(`${change.key} has another before`);
    const [old, version] = [known?.metadata.resourceVersion, change.object.metadata.resourceVersion];
    if (old !== undefined && Number(version) < Number(old)) this.complaints.push(`${change.key} went back in time`);
    if (change.type === "deleted") this.told.delete(change.key);
    else this.told.set(change.key, change.object);
  }

  #isFault(): boolean {
    return !this.#isCalm && this.random() < this.#options.faults;
  }

  #anyError(): ApiError {
    const status = [500, 429, 401, 403, 404, 410, 503, 504][Math.floor(8 * this.random())] ?? 500;
    return refusal("follow things", status, {}, status === 429 ? 3000 : undefined);
  }
}

function bookmark(version: number, annotations: Readonly<Record<string, string>> = {}): Thing {
  const metadata = { name: "", resourceVersion: String(version), annotations };
  return { apiVersion: "v1", kind: "Thing", metadata, data: 0 };
}
