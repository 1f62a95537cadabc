import { createGunzip } from "node:zlib";
import type { Readable } from "node:stream";
import { Agent, ProxyAgent } from "undici";
import type { Dispatcher } from "undici";
import { unanswered } from "@bpfleet/kube";
import type { ClusterAccess, Proof } from "./access.ts";

export interface Outgoing {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: string | undefined;
  readonly contentType?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly headersTimeoutMs: number;
  /** 0: the caller looks after silence. */
  readonly bodyTimeoutMs: number;
}

export interface Incoming {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Unpacked; ends with an error when it is cut off. */
  readonly body: Readable;
  /** Nothing comes any more: no further request is to go over this connection. */
  suspect(): void;
}

/** What is still under way on a suspect connection has so long to end by itself. */
const lastChanceMs = 120_000;

/** Requests to one server with what proves who we are, on pooled connections. */
export class Transport implements AsyncDisposable {
  readonly access: ClusterAccess;
  readonly #prefix: string;
  readonly #origin: string;
  #pool: { readonly proof: Proof; readonly dispatcher: Dispatcher } | undefined;
  readonly #retired = new Set<Dispatcher>();
  #isDisposed = false;

  constructor(access: ClusterAccess) {
    this.access = access;
    const url = new URL(access.server);
    this.#origin = url.origin;
    this.#prefix = url.pathname.replace(/\/$/, "");
  }

  /** Tells the answer's status and body; asks once more with renewed credentials after a 401. */
  async send(doing: string, outgoing: Outgoing): Promise<Incoming> {
    if (this.#isDisposed) throw unanswered(doing, "this client was disposed of");
    const { credentials } = this.access;
    const proof = await credentials.current();
    const first = await this.#attempt(doing, outgoing, proof);
    if (first.status !== 401) return first;
    await credentials.renew(proof);
    const renewed = await credentials.current();
    if (isSameProof(proof, renewed)) return first;
    first.body.resume();
    return this.#attempt(doing, outgoing, renewed);
  }

  async #attempt(doing: string, outgoing: Outgoing, proof: Proof): Promise<Incoming> {
    const { signal } = outgoing;
    signal?.throwIfAborted();
    const dispatcher = this.#dispatcher(proof);
    try {
      const answer = await dispatcher.request({
        origin: this.#origin,
        path: `${this.#prefix}${outgoing.path}`,
        method: outgoing.method,
        headers: headersOf(proof, outgoing),
        body: outgoing.body ?? null,
        signal: signal ?? null,
        headersTimeout: outgoing.headersTimeoutMs,
        bodyTimeout: outgoing.bodyTimeoutMs,
      });
      return {
        status: answer.statusCode,
        headers: answer.headers,
        body: unpack(answer.body, answer.headers),
        suspect: () => this.#suspect(dispatcher),
      };
    } catch (cause) {
      if (isTimeout(cause) || isTimeout(signal?.reason)) this.#suspect(dispatcher);
      signal?.throwIfAborted();
      throw unanswered(doing, `${saidBy(cause)} by ${this.access.server}`, cause);
    }
  }

  #dispatcher(proof: Proof): Dispatcher {
    if (this.#pool !== undefined && hasSameConnection(this.#pool.proof, proof)) return this.#pool.dispatcher;
    // Running watches end by themselves; new requests come with the new certificate.
    if (this.#pool !== undefined) this.#retire(this.#pool.dispatcher);
    const dispatcher = makeDispatcher(this.access, proof);
    this.#pool = { proof, dispatcher };
    return dispatcher;
  }

  /**
   * A half-open connection answers nothing and does not break either. Over HTTP/2 all requests share one, so that
   * each would wait in vain; the next goes over a new one.
   */
  #suspect(dispatcher: Dispatcher): void {
    if (this.#pool?.dispatcher !== dispatcher) return;
    this.#pool = undefined;
    this.#retire(dispatcher);
    setTimeout(() => void dispatcher.destroy().catch(() => undefined), lastChanceMs).unref();
  }

  #retire(dispatcher: Dispatcher): void {
    this.#retired.add(dispatcher);
    void dispatcher
      .close()
      .catch(() => undefined)
      .finally(() => this.#retired.delete(dispatcher));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    const all = [...this.#retired, ...(this.#pool === undefined ? [] : [this.#pool.dispatcher])];
    this.#pool = undefined;
    await Promise.all(all.map((dispatcher) => dispatcher.destroy()));
  }
}

function makeDispatcher(access: ClusterAccess, { certificate, ca = access.tls.ca }: Proof): Dispatcher {
  const { tls } = access;
  const secure = {
    ...(ca === undefined ? {} : { ca }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    ...(tls.isInsecure === true ? { rejectUnauthorized: false } : {}),
    ...(certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key }),
  };
  const allowH2 = access.allowsHttp2 ?? true;
  const pool = { allowH2, keepAliveTimeout: 30_000, connectTimeout: 10_000 };
  if (access.proxyUrl !== undefined) {
    return new ProxyAgent({
      ...pool,
      uri: access.proxyUrl,
      requestTls: { ...secure, timeout: 10_000 },
      proxyTunnel: true,
    });
  }
  const h2 = allowH2 ? { h2Options: { pingInterval: 20_000 } } : {};
  return new Agent({ ...pool, ...h2, connect: { ...secure, timeout: 10_000, keepAlive: true } });
}

/** Nobody answered in time: by the caller's patience or by the library's. */
function isTimeout(cause: unknown): boolean {
  return cause instanceof Error && (cause.name === "TimeoutError" || cause.name === "HeadersTimeoutError");
}

/** What is proved when a connection is made. */
function hasSameConnection(a: Proof, b: Proof): boolean {
  return a.ca === b.ca && a.certificate?.cert === b.certificate?.cert && a.certificate?.key === b.certificate?.key;
}

function isSameProof(a: Proof, b: Proof): boolean {
  return hasSameConnection(a, b) && a.authorization === b.authorization;
}

function headersOf(proof: Proof, outgoing: Outgoing): Record<string, string | string[]> {
  return {
    accept: "application/json",
    "accept-encoding": "gzip",
    "user-agent": "bpfleet",
    ...(outgoing.body === undefined ? {} : { "content-type": outgoing.contentType ?? "application/json" }),
    ...(proof.authorization === undefined ? {} : { authorization: proof.authorization }),
    ...Object.fromEntries(Object.entries(proof.headers ?? {}).map(([name, value]) => [name, [value].flat()])),
  };
}

function unpack(body: Readable, headers: Incoming["headers"]): Readable {
  if (headers["content-encoding"] !== "gzip") return body;
  const gunzip = createGunzip();
  body.once("error", (error) => gunzip.destroy(error));
  gunzip.once("close", () => body.destroy());
  return body.pipe(gunzip);
}

/** The short word of the system or of the library: `connect ECONNREFUSED 127.0.0.1:6443`. */
export function saidBy(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (cause instanceof AggregateError && cause.errors.length > 0) return saidBy(cause.errors[0]);
  return cause.message === "" ? cause.name : cause.message;
}
