import type { Dispatcher } from "undici";
import type { ClusterAccess, Proof } from "./access.ts";
import { hasSameConnection, makeDispatcher } from "./make-dispatcher.ts";

/**
 * Calls and streams have connections of their own: of HTTP/1.1 and, where the server has it, HTTP/2. So have urgent
 * calls, which would else wait until one of the others is answered.
 */
export type LaneName = "calls" | "urgent" | "streams";

export interface Lane {
  readonly name: LaneName;
  readonly proof: Proof;
  readonly dispatcher: Dispatcher;
  /** Set when requests that have no answer yet are better sent again, over another lane. */
  readonly left: AbortSignal;
  /** When a request over it was last answered, of the monotonic clock. */
  answeredAtMs: number;
}

/** What is still under way on a connection that seems dead has so long to end by itself. */
const lastChanceMs = 120_000;

/** The connections to one server. A lane that is left ends when all that runs on it has ended. */
export class Lanes implements AsyncDisposable {
  readonly #access: ClusterAccess;
  readonly #current = new Map<LaneName, Lane & { readonly leaving: AbortController }>();
  readonly #retired = new Set<Dispatcher>();

  constructor(access: ClusterAccess) {
    this.#access = access;
  }

  get(name: LaneName, proof: Proof): Lane {
    const current = this.#current.get(name);
    if (current !== undefined && hasSameConnection(current.proof, proof)) return current;
    // Running watches end by themselves; new requests come with the new certificate.
    if (current !== undefined) this.#retire(current.dispatcher);
    const dispatcher = makeDispatcher(this.#access, proof, name !== "streams");
    const leaving = new AbortController();
    const lane = { name, proof, dispatcher, leaving, left: leaving.signal, answeredAtMs: -Infinity };
    this.#current.set(name, lane);
    if (name === "streams") dispatcher.on("disconnect", () => this.leave(lane));
    return lane;
  }

  leave(lane: Lane): void {
    const current = this.#current.get(lane.name);
    if (current?.dispatcher !== lane.dispatcher) return;
    this.#current.delete(lane.name);
    this.#retire(lane.dispatcher);
    current.leaving.abort();
  }

  /**
   * A half-open connection answers nothing and does not break either. Over HTTP/2 all requests share one, so that
   * each would wait in vain; the next goes over a new one.
   */
  suspect(lane: Lane): void {
    if (this.#current.get(lane.name)?.dispatcher !== lane.dispatcher) return;
    this.leave(lane);
    setTimeout(() => void lane.dispatcher.destroy().catch(() => undefined), lastChanceMs).unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#retired, ...[...this.#current.values()].map(({ dispatcher }) => dispatcher)];
    this.#current.clear();
    await Promise.all(all.map((dispatcher) => dispatcher.destroy().catch(() => undefined)));
  }

  #retire(dispatcher: Dispatcher): void {
    this.#retired.add(dispatcher);
    void dispatcher
      .close()
      .catch(() => undefined)
      .finally(() => this.#retired.delete(dispatcher));
  }
}
