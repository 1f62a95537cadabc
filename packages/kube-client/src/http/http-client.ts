import { text } from "node:stream/consumers";
import { ApiError, isApiError, refusal, renderAddress, resourcePath, unanswered } from "@bpfleet/kube";
import type { ApiObject, ObjectList, ResourceAddress, Subresource } from "@bpfleet/kube";
import type {
  ApplyOptions,
  CallOptions,
  DeleteOptions,
  EventQuery,
  KubeClient,
  ListEnd,
  ListOptions,
  ObjectAddress,
  PatchOptions,
  RawRequest,
  Selection,
  StreamEnd,
  StreamQuery,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from "../kube-client.ts";
import type { ClusterAccess } from "./access.ts";
import { systemTiming } from "../timing.ts";
import { encodeQuery, listQuery, selectionQuery, writeQuery } from "./queries.ts";
import { readEvents } from "./read-events.ts";
import { readList } from "./read-list.ts";
import type { LaneName } from "./lanes.ts";
import { Transport, saidBy } from "./transport.ts";
import type { Incoming, Outgoing } from "./transport.ts";
import { watchEvents } from "./watch-events.ts";

const callTimeoutMs = 30_000;
/** As often is a call sent; whoever calls tries again with waits of its own. */
const mostTries = 3;
/** An idle connection may be closed by the server at the moment at which it is used again. */
const brokenConnection: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]);

const patchTypes = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
} as const;

/** Connects at the first request; dispose of it when all informers on it have stopped. */
export function connectKube(access: ClusterAccess): KubeClient {
  return new HttpKubeClient(access);
}

class HttpKubeClient implements KubeClient {
  readonly namespace: string;
  readonly server: string;
  readonly #transport: Transport;

  constructor(access: ClusterAccess) {
    this.namespace = access.namespace;
    this.server = access.server;
    this.#transport = new Transport(access);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]();
  }

  get<T extends ApiObject>(address: ObjectAddress, options: CallOptions = {}): Promise<T> {
    return this.#json<T>(`get ${renderAddress(address)}`, { method: "GET", path: resourcePath(address) }, options);
  }

  async find<T extends ApiObject>(address: ObjectAddress, options: CallOptions = {}): Promise<T | undefined> {
    try {
      return await this.get<T>(address, options);
    } catch (error) {
      if (isApiError(error) && error.isNotFound) return undefined;
      throw error;
    }
  }

  async list<T extends ApiObject>(address: ResourceAddress, options: ListOptions = {}): Promise<ObjectList<T>> {
    const items: T[] = [];
    const query = listQuery(options);
    const end = await this.readList<T>(address, {
      query,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onItems: (some) => {
        for (const item of some) items.push(item);
      },
    });
    return { items, ...end };
  }

  async *pages<T extends ApiObject>(address: ResourceAddress, options: ListOptions = {}): AsyncIterable<readonly T[]> {
    let page = await this.list<T>(address, { limit: 500, ...options });
    for (;;) {
      yield page.items;
      if (page.next === undefined) return;
      const { resourceVersion: _version, resourceVersionMatch: _match, ...rest } = options;
      page = await this.list<T>(address, { limit: 500, ...rest, continue: page.next });
    }
  }

  watch<T extends ApiObject>(address: ResourceAddress, options: WatchOptions = {}): AsyncIterable<WatchEvent<T>> {
    return watchEvents<T>(this, address, options);
  }

  create<T extends ApiObject>(address: ResourceAddress, object: T, options: WriteOptions = {}): Promise<T> {
    const { name: _name, ...collection } = address;
    const doing = `create ${renderAddress({ ...collection, name: object.metadata.name })}`;
    const path = `${resourcePath(collection)}${writeQuery(options)}`;
    return this.#json<T>(doing, { method: "POST", path, body: object }, options);
  }

  update<T extends ApiObject>(address: ResourceAddress, object: T, options: WriteOptions = {}): Promise<T> {
    return this.#put("update", address, object, options);
  }

  updateStatus<T extends ApiObject>(address: ResourceAddress, object: T, options: WriteOptions = {}): Promise<T> {
    return this.#put("update status of", address, object, options, "status");
  }

  apply<T extends ApiObject>(address: ResourceAddress, object: ApiObject, options: ApplyOptions): Promise<T> {
    return this.#apply("apply", address, object, options);
  }

  applyStatus<T extends ApiObject>(address: ResourceAddress, object: ApiObject, options: ApplyOptions): Promise<T> {
    return this.#apply("apply status of", address, object, options, "status");
  }

  patch<T extends ApiObject>(address: ObjectAddress, patch: unknown, options: PatchOptions): Promise<T> {
    const path = `${resourcePath(address, options.subresource)}${writeQuery(options)}`;
    const request = { method: "PATCH", path, body: patch, contentType: patchTypes[options.type] } as const;
    return this.#json<T>(`patch ${renderAddress(address)}`, request, options);
  }

  async delete(address: ObjectAddress, options: DeleteOptions = {}): Promise<boolean> {
    const request = { method: "DELETE", path: resourcePath(address), body: deleteBody(options) } as const;
    try {
      await this.#json(`delete ${renderAddress(address)}`, request, options);
      return true;
    } catch (error) {
      if (isApiError(error) && error.isNotFound) return false;
      throw error;
    }
  }

  async deleteCollection(address: ResourceAddress, options: DeleteOptions & Selection = {}): Promise<void> {
    const { name: _name, ...collection } = address;
    const path = `${resourcePath(collection)}${encodeQuery(selectionQuery(options))}`;
    const request = { method: "DELETE", path, body: deleteBody(options) } as const;
    await this.#json(`delete all ${renderAddress(collection)}`, request, options);
  }

  async request(request: RawRequest): Promise<unknown> {
    const { signal, timeoutMs, isUrgent, ...rest } = request;
    return this.#json(`${request.method} ${request.path}`, rest, { signal, timeoutMs, isUrgent });
  }

  async readList<T extends ApiObject>(address: ResourceAddress, query: StreamQuery<T>): Promise<ListEnd> {
    const { name: _name, ...collection } = address;
    const doing = `list ${renderAddress(collection)}`;
    const path = `${resourcePath(collection)}${encodeQuery(query.query)}`;
    const incoming = await this.#open(doing, path, "calls", query.signal);
    return readList(doing, incoming, (items) => query.onItems(items as readonly T[]));
  }

  async readEvents<T extends ApiObject>(address: ResourceAddress, query: EventQuery<T>): Promise<StreamEnd> {
    const { name, ...collection } = address;
    const doing = `watch ${renderAddress(collection)}`;
    const only = name === undefined ? {} : { fieldSelector: `metadata.name=${name}` };
    const path = `${resourcePath(collection)}${encodeQuery({ watch: "true", ...only, ...query.query })}`;
    return readEvents(doing, (signal) => this.#open(doing, path, "streams", signal), query);
  }

  /** The answer's body, unread, of a request that was granted. */
  async #open(doing: string, path: string, lane: LaneName, signal?: AbortSignal): Promise<Incoming> {
    const bodyTimeoutMs = lane === "streams" ? 0 : callTimeoutMs;
    const outgoing = { method: "GET", path, signal, lane, headersTimeoutMs: callTimeoutMs, bodyTimeoutMs } as const;
    const incoming = await this.#transport.send(doing, outgoing);
    if (incoming.status === 200) return incoming;
    throw await refusalOf(doing, incoming);
  }

  #put<T extends ApiObject>(
    verb: string,
    address: ResourceAddress,
    object: T,
    options: WriteOptions,
    subresource?: Subresource,
  ): Promise<T> {
    const named = placed(address, object);
    const path = `${resourcePath(named, subresource)}${writeQuery(options)}`;
    return this.#json<T>(`${verb} ${renderAddress(named)}`, { method: "PUT", path, body: object }, options);
  }

  #apply<T extends ApiObject>(
    verb: string,
    address: ResourceAddress,
    object: ApiObject,
    options: ApplyOptions,
    subresource?: Subresource,
  ): Promise<T> {
    const named = placed(address, object);
    const path = `${resourcePath(named, subresource)}${writeQuery(options)}`;
    const request = { method: "PATCH", path, body: object, contentType: "application/apply-patch+yaml" } as const;
    return this.#json<T>(`${verb} ${renderAddress(named)}`, request, options);
  }

  async #json<T>(doing: string, request: Omit<RawRequest, keyof CallOptions>, options: CallOptions): Promise<T> {
    const endMs = performance.now() + (options.timeoutMs ?? callTimeoutMs);
    for (let tries = 1; ; tries++) {
      try {
        return await this.#once<T>(doing, request, { ...options, timeoutMs: Math.max(1, endMs - performance.now()) });
      } catch (cause) {
        const waitMs = isApiError(cause) && tries < mostTries ? waitBeforeRetry(request.method, cause) : undefined;
        if (waitMs === undefined || performance.now() + waitMs >= endMs) throw cause;
        await systemTiming.sleep(waitMs, options.signal);
        options.signal?.throwIfAborted();
      }
    }
  }

  async #once<T>(doing: string, request: Omit<RawRequest, keyof CallOptions>, options: CallOptions): Promise<T> {
    const timeout = AbortSignal.timeout(Math.ceil(options.timeoutMs ?? callTimeoutMs));
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    const outgoing: Outgoing = {
      method: request.method,
      path: request.path,
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      contentType: request.contentType,
      accept: request.accept,
      signal,
      lane: options.isUrgent === true ? "urgent" : "calls",
      headersTimeoutMs: callTimeoutMs,
      bodyTimeoutMs: callTimeoutMs,
    };
    let incoming: Incoming | undefined;
    try {
      incoming = await this.#transport.send(doing, outgoing);
      if (incoming.status < 200 || incoming.status > 299) throw await refusalOf(doing, incoming);
      return parseBody(incoming, await text(incoming.body)) as T;
    } catch (cause) {
      if (timeout.aborted) incoming?.suspect();
      options.signal?.throwIfAborted();
      if (cause instanceof ApiError) throw cause;
      const said = timeout.aborted
        ? `no answer within ${Math.round((options.timeoutMs ?? callTimeoutMs) / 100) / 10} s`
        : saidBy(cause);
      throw unanswered(doing, `${said} from ${this.server}`, cause);
    }
  }
}

/** What was not looked at may be sent again: turned away for the server's own sake, or reading over a connection that broke. */
function waitBeforeRetry(method: string, error: ApiError): number | undefined {
  if (error.status === 429) return error.retryAfterMs;
  const code = (error.cause as { readonly code?: unknown } | undefined)?.code;
  return method === "GET" && typeof code === "string" && brokenConnection.has(code) ? 0 : undefined;
}

function placed(address: ResourceAddress, object: ApiObject): ObjectAddress {
  return {
    ...address,
    name: address.name ?? object.metadata.name,
    namespace: address.namespace ?? object.metadata.namespace,
  };
}

function parseBody(incoming: Incoming, body: string): unknown {
  const type = String(incoming.headers["content-type"] ?? "");
  return type.startsWith("application/json") ? JSON.parse(body) : body;
}

async function refusalOf(doing: string, incoming: Incoming): Promise<ApiError> {
  const body = await text(incoming.body).catch(() => "");
  let parsed: unknown = body;
  try {
    parsed = JSON.parse(body);
  } catch {
    // Proxies and servers that start answer in plain text; it stands in the detail.
  }
  const after = Number(incoming.headers["retry-after"]);
  return refusal(doing, incoming.status, parsed, Number.isFinite(after) && after > 0 ? after * 1000 : undefined);
}

function deleteBody(options: DeleteOptions): unknown {
  const { propagation, graceSeconds, preconditions, isDryRun } = options;
  return {
    apiVersion: "v1",
    kind: "DeleteOptions",
    ...(propagation === undefined ? {} : { propagationPolicy: propagation }),
    ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
    ...(preconditions === undefined ? {} : { preconditions }),
    ...(isDryRun === true ? { dryRun: ["All"] } : {}),
  };
}
