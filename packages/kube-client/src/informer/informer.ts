import { ObjectCache, Reflection, isApiError, notTakenIn, objectKey, renderAddress, unanswered } from "@bpfleet/kube";
import type {
  ApiError,
  ApiObject,
  CacheChange,
  Indexer,
  Reflected,
  ResourceAddress,
  WatchPolicy,
  WatchQuery,
} from "@bpfleet/kube";
import { Breather } from "../http/breathe.ts";
import { saidBy } from "../http/transport.ts";
import { selectionQuery } from "../http/queries.ts";
import type { KubeClient, Selection } from "../kube-client.ts";
import { systemTiming } from "../timing.ts";
import type { Timing } from "../timing.ts";

export interface InformerOptions<T extends ApiObject> extends Selection {
  /** One namespace, one object, or everything. */
  readonly resource: ResourceAddress;
  readonly indexes?: Readonly<Record<string, Indexer<T>>> | undefined;
  /**
   * Leaves out of each object what is not needed, before it is kept; `metadata` must keep name, uid and version. Where
   * it throws, what was kept of the object before stays.
   */
  readonly transform?: ((object: T) => T) | undefined;
  readonly policy?: Partial<WatchPolicy> | undefined;
  readonly timing?: Timing | undefined;
  /** Told of each failed list or watch, and of what is not taken in; the informer goes on by itself. */
  readonly onFault?: ((error: ApiError) => void) | undefined;
}

export type ChangeListener<T extends ApiObject> = (change: CacheChange<T>) => void;

/** Follows one collection for as long as it runs, and keeps a copy of it. */
export interface Informer<T extends ApiObject = ApiObject> extends AsyncDisposable {
  readonly resource: ResourceAddress;
  /** Whether the copy was whole once; it then stays one, older while the server is away. */
  readonly isSynced: boolean;
  /** What the last try failed with; `undefined` while it follows. */
  readonly fault: ApiError | undefined;
  readonly size: number;
  start(): this;
  stop(): Promise<void>;
  /** Ends when the first whole list is here and every listener was told of it. */
  synced(signal?: AbortSignal): Promise<void>;
  list(): readonly T[];
  get(namespace: string | undefined, name: string): T | undefined;
  /** `namespace/name` or `name`. */
  find(key: string): T | undefined;
  byIndex(index: string, value: string): readonly T[];
  /** Every change in order; who comes late is first told `added` for what is there. Returns how to leave. */
  onChange(listener: ChangeListener<T>): () => void;
}

export function createInformer<T extends ApiObject>(client: KubeClient, options: InformerOptions<T>): Informer<T> {
  return new ClientInformer(client, options);
}

interface Untold<T extends ApiObject> {
  readonly change: CacheChange<T>;
  /** One listener that came late, or the number of the change, for all who were there. */
  readonly to: ChangeListener<T> | number;
}

class ClientInformer<T extends ApiObject> implements Informer<T> {
  readonly resource: ResourceAddress;
  fault: ApiError | undefined;
  isSynced = false;
  readonly #client: KubeClient;
  readonly #options: InformerOptions<T>;
  readonly #timing: Timing;
  readonly #reflection: Reflection<T>;
  readonly #cache: ObjectCache<T>;
  /** Each with the number of the last change that it need not be told: that is in what it was given first. */
  readonly #listeners = new Map<ChangeListener<T>, number>();
  #changes = 0;
  readonly #firstList = Promise.withResolvers<void>();
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  /** Changes that are in the copy and not told yet. */
  #untold: Untold<T>[] = [];
  #telling: Promise<void> | undefined;

  constructor(client: KubeClient, options: InformerOptions<T>) {
    this.#client = client;
    this.#options = options;
    this.resource = options.resource;
    this.#timing = options.timing ?? systemTiming;
    this.#reflection = new Reflection<T>(options.policy, () => this.#timing.random());
    this.#cache = new ObjectCache<T>(options.indexes);
    this.#firstList.promise.catch(() => undefined);
  }

  get size(): number {
    return this.#cache.size;
  }

  start(): this {
    this.#running ??= this.#run();
    return this;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#telling;
    this.#firstList.reject(new Error(`follow ${renderAddress(this.resource)}: stopped before the first list`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async synced(signal?: AbortSignal): Promise<void> {
    if (signal === undefined) return this.#firstList.promise;
    signal.throwIfAborted();
    const { promise, reject } = Promise.withResolvers<never>();
    const end = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", end, { once: true });
    try {
      await Promise.race([this.#firstList.promise, promise]);
    } finally {
      signal.removeEventListener("abort", end);
    }
  }

  list(): readonly T[] {
    return this.#cache.list();
  }

  get(namespace: string | undefined, name: string): T | undefined {
    return this.#cache.get(namespace, name);
  }

  find(key: string): T | undefined {
    return this.#cache.find(key);
  }

  byIndex(index: string, value: string): readonly T[] {
    return this.#cache.byIndex(index, value);
  }

  onChange(listener: ChangeListener<T>): () => void {
    this.#listeners.set(listener, this.#changes);
    for (const key of this.#cache.keys()) {
      const object = this.#cache.find(key);
      if (object !== undefined) this.#untold.push({ change: { type: "added", key, object }, to: listener });
    }
    this.#tell();
    return () => this.#listeners.delete(listener);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const step = this.#reflection.next();
      try {
        if (step.do === "wait") {
          await this.#timing.sleep(step.ms, signal);
          this.#see(this.#reflection.see({ saw: "waited" }, this.#nowMs()));
        } else if (step.do === "list") await this.#list(step.query);
        else await this.#watch(step.query, step.silenceMs);
      } catch (cause) {
        if (signal.aborted) return;
        const error = isApiError(cause)
          ? cause
          : unanswered(`follow ${renderAddress(this.resource)}`, saidBy(cause), cause);
        this.#reflection.see({ saw: "failed", error }, this.#nowMs());
        this.#failed(error);
      }
    }
  }

  async #list(query: WatchQuery): Promise<void> {
    const end = await this.#client.readList<T>(this.resource, {
      query: { ...this.#selection(), ...query },
      signal: this.#stop.signal,
      onItems: (items) => {
        const kept = items.map((item) => this.#kept(item)).filter((item) => item !== undefined);
        this.#see(this.#reflection.see({ saw: "items", items: kept }, this.#nowMs()));
      },
    });
    this.#see(this.#reflection.see({ saw: "page-end", ...end }, this.#nowMs()));
  }

  async #watch(query: WatchQuery, silenceMs: number): Promise<void> {
    let isQuiet = false;
    const end = await this.#client.readEvents<T>(this.resource, {
      query: { ...this.#selection(), ...query },
      signal: this.#stop.signal,
      silenceMs,
      onOpen: () => {
        isQuiet = true;
        this.fault = undefined;
        this.#reflection.see({ saw: "opened" }, this.#nowMs());
      },
      onEvent: (type, object) => {
        isQuiet = false;
        const kept = type === "BOOKMARK" ? object : this.#kept(object);
        if (kept !== undefined || type === "DELETED")
          this.#see(this.#reflection.see({ saw: "event", type, object: kept ?? object }, this.#nowMs()));
        else if (this.#reflection.phase === "watch")
          this.#reflection.see({ saw: "event", type: "BOOKMARK", object }, this.#nowMs());
        return this.#reflection.wantsStream;
      },
    });
    if (end === "unwanted") return;
    this.#reflection.see({ saw: "ended", because: end }, this.#nowMs());
    // Of a collection in which nothing happens servers may send no bookmark for minutes; that one does not answer is told
    // by what is asked next.
    if (end === "silence" && isQuiet) return;
    if (end !== "server") this.#failed(unanswered(`watch ${renderAddress(this.resource)}`, endings[end]));
  }

  /** What cannot be read is as it was before; `undefined` when there was nothing. */
  #kept(object: T): T | undefined {
    const { transform } = this.#options;
    if (transform === undefined || !hasName(object)) return object;
    try {
      return transform(object);
    } catch (cause) {
      const key = objectKey(object);
      this.#notTaken(`read ${object.kind} ${key}`, cause);
      const before = this.#cache.find(key);
      const { uid, resourceVersion } = object.metadata;
      if (before === undefined || before.metadata.uid !== uid) return undefined;
      return { ...before, metadata: { ...before.metadata, ...(resourceVersion !== undefined && { resourceVersion }) } };
    }
  }

  #selection(): WatchQuery {
    const { name } = this.resource;
    const { labelSelector, fieldSelector } = this.#options;
    const only = name === undefined ? undefined : `metadata.name=${name}`;
    const fields = [fieldSelector, only].filter((part) => part !== undefined && part !== "").join(",");
    return selectionQuery({ labelSelector, fieldSelector: fields });
  }

  #see(reflected: Reflected<T> | undefined): void {
    if (reflected === undefined) return;
    const changes =
      reflected.change === "replace"
        ? this.#cache.replace(reflected.objects)
        : reflected.change === "upsert"
          ? this.#cache.upsert(reflected.object)
          : this.#cache.remove(reflected.object);
    for (const change of changes) this.#untold.push({ change, to: (this.#changes += 1) });
    if (reflected.change === "replace") this.isSynced = true;
    this.#tell();
  }

  #tell(): void {
    this.#telling ??= this.#tellAll().finally(() => {
      this.#telling = undefined;
      if (this.#untold.length > 0) this.#tell();
    });
  }

  async #tellAll(): Promise<void> {
    const breather = new Breather();
    await Promise.resolve();
    while (this.#untold.length > 0) {
      const batch = this.#untold;
      this.#untold = [];
      for (const { change, to } of batch) {
        for (const [listener, since] of this.#listeners)
          if (typeof to === "number" ? since < to : listener === to) this.#tellOne(listener, change);
        if (breather.isDue) await breather.breathe();
      }
    }
    if (this.isSynced) this.#firstList.resolve();
  }

  #tellOne(listener: ChangeListener<T>, change: CacheChange<T>): void {
    try {
      listener(change);
    } catch (cause) {
      this.#notTaken(`follow ${renderAddress(this.resource)}: ${change.key} was not taken in`, cause);
    }
  }

  /** It does not stand in the way of others: the collection is followed all the same. */
  #notTaken(doing: string, cause: unknown): void {
    this.#options.onFault?.(notTakenIn(doing, saidBy(cause), cause));
  }

  #failed(error: ApiError): void {
    this.fault = error;
    this.#options.onFault?.(error);
  }

  #nowMs(): number {
    return this.#timing.monotonicMs();
  }
}

function hasName({ metadata }: { readonly metadata?: Partial<ApiObject["metadata"]> }): boolean {
  return typeof metadata?.name === "string";
}

const endings = {
  cut: "the connection broke",
  silence: "nothing came any more",
  garbage: "what came cannot be read",
} as const;
