import { connect } from "node:net";
import { createClient, ConnectError } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { KernelError } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import type { Inventory, NodeFacts, ObservedKernel } from "@bpfleet/kernel";
import { DaemonService, FailureSchema, MachineService } from "@bpfleet/wire";
import type { HookCounters } from "../counters.ts";
import type { DaemonResults, DaemonVersion, ExplainRequest, Explanation, TraceEvent, TraceOptions } from "../daemon.ts";
import {
  decodeCounters,
  decodeEvents,
  decodeExplanation,
  decodeFacts,
  decodeFailure,
  decodeHookCounters,
  decodeInventory,
  decodeObserved,
  decodeResults,
} from "./from-wire.ts";
import type {
  Machine,
  MapReading,
  ReadMapRequest,
  Survey,
  SurveyOptions,
  WriteMapRequest,
} from "../machine/machine.ts";
import { decodeReading, decodeSurvey, encodeReadRequest, encodeWriteRequest } from "./machine-wire.ts";
import { encodeRef } from "./to-wire.ts";

const readMaxBytes = 256 << 20;

export interface DaemonState {
  readonly facts: NodeFacts;
  readonly results: DaemonResults;
  /** Empty unless they were asked for. */
  readonly counters: readonly InstanceCounters[];
  readonly hooks: readonly HookCounters[];
}

/** The daemon of this node, from another process. Failures are KernelErrors, as in the daemon itself. */
export class DaemonClient implements Machine, Disposable {
  readonly #socket: string;
  readonly #sessions: Http2SessionManager;
  readonly #client: ReturnType<typeof createClient<typeof DaemonService>>;
  readonly #machine: ReturnType<typeof createClient<typeof MachineService>>;

  /** Connects with the first call. */
  constructor(socket: string) {
    this.#socket = socket;
    const baseUrl = "http://localhost";
    this.#sessions = new Http2SessionManager(baseUrl, {}, { createConnection: () => connect(socket) });
    const transport = createGrpcTransport({ baseUrl, sessionManager: this.#sessions, readMaxBytes });
    this.#client = createClient(DaemonService, transport);
    this.#machine = createClient(MachineService, transport);
  }

  async state(options: { readonly withCounters: boolean }): Promise<DaemonState> {
    const { facts, results, counters, hooks } = await this.#call(() => this.#client.getState(options));
    if (facts === undefined || results === undefined)
      throw new KernelError("read the daemon's state: it gives none", {
        code: "invalid",
        call: "GetState",
        retry: "never",
      });
    return {
      facts: decodeFacts(facts),
      results: decodeResults(results),
      counters: counters.map(decodeCounters),
      hooks: hooks.map(decodeHookCounters),
    };
  }

  /** With the entries of these maps, by their keys in a plan: what `diffPlan` compares a plan with. */
  async observe(withEntries: readonly string[]): Promise<ObservedKernel> {
    return decodeObserved(await this.#call(() => this.#client.observe({ withEntries: [...withEntries] })));
  }

  async inventory(): Promise<Inventory> {
    return decodeInventory(await this.#call(() => this.#client.getInventory({})));
  }

  /** Everything of BPF on the machine, with owners and holders. */
  async survey(options: SurveyOptions): Promise<Survey> {
    return decodeSurvey(await this.#call(() => this.#machine.getSurvey(options)));
  }

  async readMap(request: ReadMapRequest): Promise<MapReading> {
    return decodeReading(await this.#call(() => this.#machine.readMap(encodeReadRequest(request))));
  }

  async writeMap(request: WriteMapRequest): Promise<void> {
    await this.#call(() => this.#machine.writeMap(encodeWriteRequest(request)));
  }

  async explain({ hook, packet }: ExplainRequest): Promise<Explanation> {
    return decodeExplanation(await this.#call(() => this.#client.explain({ hook, packet })));
  }

  /** Ends with the signal; throws when the daemon goes away. */
  async *trace({ every, only, owner }: TraceOptions, signal: AbortSignal): AsyncGenerator<readonly TraceEvent[]> {
    const request = { every, only, ...(owner && { owner: encodeRef(owner) }) };
    try {
      for await (const events of this.#client.trace(request, { signal })) yield decodeEvents(events);
    } catch (error) {
      if (!signal.aborted) throw this.#failure(error);
    }
  }

  /** Flows that rules log, as lines of JSON: the last ones, and with `follow` what comes, until the signal. */
  async *log(
    { tail, follow }: { readonly tail: number; readonly follow: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<readonly string[]> {
    try {
      for await (const { lines } of this.#client.followLog({ tail, follow }, { signal })) yield lines;
    } catch (error) {
      if (!signal.aborted) throw this.#failure(error);
    }
  }

  async pause(): Promise<void> {
    await this.#call(() => this.#client.pause({}));
  }

  async resume(): Promise<void> {
    await this.#call(() => this.#client.resume({}));
  }

  async version(): Promise<DaemonVersion> {
    const { version, kernel, node, libbpf } = await this.#call(() => this.#client.getVersion({}));
    return { version, kernel, node, libbpf };
  }

  [Symbol.dispose](): void {
    this.#sessions.abort();
  }

  async #call<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(cause: unknown): KernelError {
    const error = ConnectError.from(cause);
    const [failure] = error.findDetails(FailureSchema);
    if (failure !== undefined) return decodeFailure(failure, error.rawMessage, cause);
    const errno = errnoOf(error);
    if (errno === undefined)
      return new KernelError(`ask the daemon: ${error.rawMessage}`, {
        code: "internal",
        call: "gRPC",
        retry: "backoff",
        cause,
      });
    const said =
      { ENOENT: "there is no such socket", ECONNREFUSED: "nobody listens there", EACCES: "you may not open it" }[
        errno
      ] ?? "the connection was lost";
    const code = errno === "EACCES" ? "no-permission" : "unreachable";
    const help = errno === "EACCES" ? "run as root" : "start it with `ebpfctl up`";
    return new KernelError(`reach the daemon at ${this.#socket}: ${said} (${errno}); ${help}`, {
      code,
      call: "CONNECT",
      errno,
      retry: "backoff",
      cause,
    });
  }
}

/** The system's word for what broke the connection, however deep it lies. */
function errnoOf(error: unknown): string | undefined {
  for (let each = error, depth = 0; each instanceof Error && depth < 8; each = each.cause, depth++) {
    const { code } = each as NodeJS.ErrnoException;
    if (typeof code === "string" && /^(E[A-Z]+|ERR_HTTP2_[A-Z_]+)$/.test(code)) return code;
  }
  return undefined;
}
