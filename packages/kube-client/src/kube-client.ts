import type { ApiObject, ObjectList, ResourceAddress, ResourceType, Subresource } from "@bpfleet/kube";

/** One object. */
export type ObjectAddress = ResourceAddress & { readonly name: string };

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** The whole call, answer included. */
  readonly timeoutMs?: number | undefined;
  /** Waits behind no other call of this client, however slow the server is. For few. */
  readonly isUrgent?: boolean | undefined;
}

export interface Selection {
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface ListOptions extends CallOptions, Selection {
  readonly limit?: number | undefined;
  /** `next` of the page before. */
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly resourceVersionMatch?: "Exact" | "NotOlderThan" | undefined;
}

export interface WriteOptions extends CallOptions {
  readonly fieldManager?: string | undefined;
  /** The server does everything but keep it. */
  readonly isDryRun?: boolean | undefined;
  /** What becomes of fields that the server does not know. */
  readonly fieldValidation?: "Ignore" | "Warn" | "Strict" | undefined;
}

export interface ApplyOptions extends WriteOptions {
  readonly fieldManager: string;
  /** Takes fields over from other managers instead of failing with a conflict. */
  readonly isForced?: boolean | undefined;
}

export interface PatchOptions extends WriteOptions {
  readonly type: "json" | "merge" | "strategic";
  readonly subresource?: Subresource | undefined;
}

export interface DeleteOptions extends CallOptions {
  readonly propagation?: "Background" | "Foreground" | "Orphan" | undefined;
  readonly graceSeconds?: number | undefined;
  /** Only this very object, in this very state. */
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string } | undefined;
  readonly isDryRun?: boolean | undefined;
}

export type WatchEvent<T extends ApiObject> = {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: T;
};

export interface WatchOptions extends Selection {
  readonly signal?: AbortSignal | undefined;
  readonly resourceVersion?: string | undefined;
  readonly timeoutSeconds?: number | undefined;
  readonly allowBookmarks?: boolean | undefined;
}

/** Any request: discovery, `/version`, `/readyz`, reviews. */
export interface RawRequest extends CallOptions {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With its query, encoded. */
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string | undefined;
  /** JSON when not given. */
  readonly accept?: string | undefined;
}

/**
 * An API server. Every call throws `ApiError`, or the reason of its signal. What is handed out is what the server
 * sent: parse it before it is believed.
 */
export interface KubeClient extends AsyncDisposable {
  /** The namespace that the kubeconfig or the pod names; `default` where neither does. */
  readonly namespace: string;
  /** `https://HOST:PORT`, for messages. */
  readonly server: string;

  get<T extends ApiObject>(address: ObjectAddress, options?: CallOptions): Promise<T>;
  /** As `get`, but `undefined` where there is none. */
  find<T extends ApiObject>(address: ObjectAddress, options?: CallOptions): Promise<T | undefined>;
  /** One page, or all where no `limit` is given. */
  list<T extends ApiObject>(address: ResourceAddress, options?: ListOptions): Promise<ObjectList<T>>;
  /** All objects, page by page; the list of one moment unless the server forgets it meanwhile (410). */
  pages<T extends ApiObject>(address: ResourceAddress, options?: ListOptions): AsyncIterable<readonly T[]>;
  /** The bare stream; ends when the server ends it. To follow a collection take an `Informer`. */
  watch<T extends ApiObject>(address: ResourceAddress, options?: WatchOptions): AsyncIterable<WatchEvent<T>>;
  create<T extends ApiObject>(address: ResourceAddress, object: T, options?: WriteOptions): Promise<T>;
  /** Replaces the object; with `metadata.resourceVersion` only if nobody changed it since (409). */
  update<T extends ApiObject>(address: ResourceAddress, object: T, options?: WriteOptions): Promise<T>;
  updateStatus<T extends ApiObject>(address: ResourceAddress, object: T, options?: WriteOptions): Promise<T>;
  /** Server-side apply; `causes` of a conflict name each field and its manager. */
  apply<T extends ApiObject>(address: ResourceAddress, object: ApiObject, options: ApplyOptions): Promise<T>;
  applyStatus<T extends ApiObject>(address: ResourceAddress, object: ApiObject, options: ApplyOptions): Promise<T>;
  patch<T extends ApiObject>(address: ObjectAddress, patch: unknown, options: PatchOptions): Promise<T>;
  /** True when it was there; it may stay a while for its finalizers. */
  delete(address: ObjectAddress, options?: DeleteOptions): Promise<boolean>;
  deleteCollection(address: ResourceAddress, options?: DeleteOptions & Selection): Promise<void>;
  /** Parsed where the answer is JSON, else the text. */
  request(request: RawRequest): Promise<unknown>;
  /** What an informer reads; `onItems` is given items as they come in. */
  readList<T extends ApiObject>(address: ResourceAddress, query: StreamQuery<T>): Promise<ListEnd>;
  readEvents<T extends ApiObject>(address: ResourceAddress, query: EventQuery<T>): Promise<StreamEnd>;
}

export interface StreamQuery<T extends ApiObject> {
  readonly query: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  readonly onItems: (items: readonly T[]) => void;
}

export interface ListEnd {
  readonly resourceVersion: string;
  readonly next?: string | undefined;
  readonly remaining?: number | undefined;
}

export interface EventQuery<T extends ApiObject> {
  readonly query: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** No byte for so long ends the stream. */
  readonly silenceMs: number;
  readonly onOpen?: (() => void) | undefined;
  /** False ends the stream. */
  readonly onEvent: (type: string, object: T) => boolean;
}

export type StreamEnd = "server" | "cut" | "silence" | "garbage" | "unwanted";

/** Names a kind's collection: `at(leases, { namespace, name })`. */
export function at(
  type: ResourceType,
  place: { readonly namespace?: string | undefined; readonly name: string },
): ObjectAddress {
  return { group: type.group, version: type.version, plural: type.plural, ...place };
}
