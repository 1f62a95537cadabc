import { createGunzip } from "node:zlib";
import type { Readable } from "node:stream";
import { unanswered } from "@bpfleet/kube";
import type { ClusterAccess, Proof } from "./access.ts";
import { Lanes } from "./lanes.ts";
import type { Lane, LaneName } from "./lanes.ts";
import { hasSameConnection } from "./make-dispatcher.ts";

export interface Outgoing {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: string | undefined;
  readonly contentType?: string | undefined;
  /** JSON when not given. */
  readonly accept?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly lane: LaneName;
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

/** Over how many connections a request is sent that was refused, or cut off, before it was looked at. */
const mostLanes = 4;

/** Requests to one server with what proves who we are. */
export class Transport implements AsyncDisposable {
  readonly access: ClusterAccess;
  readonly #prefix: string;
  readonly #origin: string;
  readonly #lanes: Lanes;
  #isDisposed = false;

  constructor(access: ClusterAccess) {
    this.access = access;
    const url = new URL(access.server);
    this.#origin = url.origin;
    this.#prefix = url.pathname.replace(/\/$/, "");
    this.#lanes = new Lanes(access);
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

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    await this.#lanes[Symbol.asyncDispose]();
  }

  async #attempt(doing: string, outgoing: Outgoing, proof: Proof): Promise<Incoming> {
    for (let lanes = 1; ; lanes++) {
      outgoing.signal?.throwIfAborted();
      const lane = this.#lanes.get(outgoing.lane, proof);
      const beganMs = performance.now();
      try {
        return await this.#open(outgoing, proof, lane);
      } catch (cause) {
        // A server that answers others meanwhile is slow, and a request that waited for its turn says nothing.
        const isSilent = lane.answeredAtMs < beganMs;
        if (isSilent && (isTimeout(cause) || isTimeout(outgoing.signal?.reason))) this.#lanes.suspect(lane);
        outgoing.signal?.throwIfAborted();
        const isLeft = lane.left.aborted && cause === lane.left.reason;
        if (isLeft && lanes < mostLanes) continue;
        throw unanswered(doing, `${saidBy(cause)} by ${this.access.server}`, cause);
      }
    }
  }

  /** Ends with the answer's head. The library's own patience does not count the time that a request waits in its queue. */
  async #open(outgoing: Outgoing, proof: Proof, lane: Lane): Promise<Incoming> {
    const opening = new AbortController();
    const late = new DOMException(`no answer within ${outgoing.headersTimeoutMs / 1000} s`, "TimeoutError");
    const timer = setTimeout(() => opening.abort(late), outgoing.headersTimeoutMs);
    const leave = (): void => opening.abort(lane.left.reason);
    lane.left.addEventListener("abort", leave, { once: true });
    const signal = AbortSignal.any([opening.signal, ...(outgoing.signal === undefined ? [] : [outgoing.signal])]);
    try {
      const request = lane.dispatcher.request({
        origin: this.#origin,
        path: `${this.#prefix}${outgoing.path}`,
        method: outgoing.method,
        headers: headersOf(proof, outgoing),
        body: outgoing.body ?? null,
        signal,
        headersTimeout: 0,
        bodyTimeout: outgoing.bodyTimeoutMs,
      });
      const answer = await orAborted(request, signal);
      lane.answeredAtMs = performance.now();
      return {
        status: answer.statusCode,
        headers: answer.headers,
        body: unpack(answer.body, answer.headers),
        suspect: () => this.#lanes.suspect(lane),
      };
    } finally {
      clearTimeout(timer);
      lane.left.removeEventListener("abort", leave);
    }
  }
}

/** The library looks at the signal of a request that waits in its queue only when its turn comes, and then does not send it. */
async function orAborted<T>(request: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([request, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Nobody answered in time. */
function isTimeout(cause: unknown): boolean {
  return cause instanceof Error && cause.name === "TimeoutError";
}

function isSameProof(a: Proof, b: Proof): boolean {
  return hasSameConnection(a, b) && a.authorization === b.authorization;
}

function headersOf(proof: Proof, outgoing: Outgoing): Record<string, string | string[]> {
  return {
    accept: outgoing.accept ?? "application/json",
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
