import { randomUUID } from "node:crypto";
import { KernelError } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import type { BytecodeSource, EndpointWish, Inventory, NodeFacts, NodePlan, PolicyReach } from "@bpfleet/kernel";
import type { PullSecrets } from "../bytecode/bytecode-watch.ts";
import type { AgentDaemon, DaemonResults, DaemonVersion } from "../daemon.ts";
import { TlsFiles, type TlsPaths } from "../tls/tls-files.ts";
import { DaemonConnection } from "./daemon-connection.ts";
import { connectionFailure } from "./connection-failure.ts";
import type { ProtocolRange } from "./protocol.ts";

export interface RemoteDaemonOptions {
  /** Of the daemon's plan service. */
  readonly socket: string;
  readonly tls: TlsPaths;
  /** Of the product, for the daemon's log. */
  readonly version: string;
  /** One sentence each time the connection is lost, refused or there again. */
  readonly onNotice?: ((notice: string) => void) | undefined;
  /** Ends the first attempts to reach it. */
  readonly signal?: AbortSignal | undefined;
  readonly retry?: { readonly firstMs: number; readonly longestMs: number } | undefined;
  /** So long results wait for a lost connection before they say that it is lost. */
  readonly graceMs?: number | undefined;
  /** Between two looks at the certificate files. */
  readonly pollMs?: number | undefined;
  /** Of the objects that plans are made for, by name: a daemon that has them otherwise is not driven. */
  readonly layouts?: Readonly<Record<string, string>> | undefined;
  /** Another range than this version's, to try versions against each other. */
  readonly protocols?: ProtocolRange | undefined;
}

/** What is wanted of the daemon: said again after every reconnect. */
export interface Wishes {
  cgroups: readonly string[] | undefined;
  endpoints: { readonly wishes: readonly EndpointWish[]; readonly reach: PolicyReach } | undefined;
  bytecode: { readonly sources: readonly BytecodeSource[]; readonly secrets: PullSecrets } | undefined;
  plan: WishedPlan | undefined;
}

export interface WishedPlan {
  readonly plan: NodePlan;
  readonly isComplete: boolean;
}

/** To ask a socket of this node costs next to nothing. */
const usualRetry = { firstMs: 100, longestMs: 2000 };

/**
 * The daemon of this node in another process. While it cannot be reached everything is as it was told last, and it is
 * reached again by itself: it then hears everything anew.
 */
export class RemoteDaemon implements AgentDaemon, AsyncDisposable {
  readonly #options: RemoteDaemonOptions;
  readonly #agentId = randomUUID();
  readonly #files: TlsFiles;
  readonly #closing = new AbortController();
  readonly #wishes: Wishes = { cgroups: undefined, endpoints: undefined, bytecode: undefined, plan: undefined };
  readonly #factsListeners = new Set<(facts: NodeFacts) => void>();
  readonly #resultListeners = new Set<(results: DaemonResults) => void>();
  readonly #first = Promise.withResolvers<void>();
  readonly #ended: Promise<void>;
  #connection: DaemonConnection | undefined;
  #facts: NodeFacts | undefined;
  #version: DaemonVersion | undefined;
  #told: DaemonResults = nothingKnown;
  #results: DaemonResults = nothingKnown;
  #lost: string | undefined;
  #grace: NodeJS.Timeout | undefined;
  #waiters: (() => void)[] = [];
  #retryNow = (): void => {};
  #said = "";

  private constructor(options: RemoteDaemonOptions) {
    this.#options = options;
    this.#files = new TlsFiles(options.tls, {
      pollMs: options.pollMs,
      // With the new certificate before the old one ends.
      onChange: () => {
        this.#connection?.hangUp();
        this.#retryNow();
      },
      onTrouble: (why) => this.#say(`certificates of the agent: ${why}`),
    });
    this.#ended = this.#run();
  }

  /** Resolves when the daemon has told what the node is. Rejects only by the signal: a daemon may be long in coming. */
  static async connect(options: RemoteDaemonOptions): Promise<RemoteDaemon> {
    const daemon = new RemoteDaemon(options);
    const { signal } = options;
    const abort = (): void => daemon.#first.reject(signal?.reason);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted === true) abort();
    try {
      await daemon.#first.promise;
      return daemon;
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  get isConnected(): boolean {
    return this.#connection?.isUp === true;
  }

  facts(): NodeFacts {
    if (this.#facts === undefined) throw new TypeError("ask for facts: the daemon has not told any yet");
    return this.#facts;
  }

  onFacts(callback: (facts: NodeFacts) => void): () => void {
    this.#factsListeners.add(callback);
    return () => void this.#factsListeners.delete(callback);
  }

  async watchCgroups(paths: readonly string[]): Promise<void> {
    const before = this.#wishes.cgroups;
    if (before?.length === paths.length && before.every((path, at) => path === paths[at])) return;
    this.#wishes.cgroups = [...paths];
    await this.#connection?.watchCgroups();
  }

  async watchEndpoints(wishes: readonly EndpointWish[], reach: PolicyReach = "everywhere"): Promise<void> {
    const now = { wishes, reach };
    // Also that there are none is to be told: a pod that comes before waits for it.
    if (JSON.stringify(this.#wishes.endpoints) === JSON.stringify(now)) return;
    this.#wishes.endpoints = now;
    await this.#connection?.watchEndpoints();
  }

  async watchBytecode(sources: readonly BytecodeSource[], secrets: PullSecrets): Promise<void> {
    const before = this.#wishes.bytecode;
    const now = { sources, secrets };
    if (JSON.stringify(before ?? { sources: [], secrets: {} }) === JSON.stringify(now)) return;
    this.#wishes.bytecode = now;
    await this.#connection?.watchBytecode();
  }

  setPlan(plan: NodePlan, { complete }: { readonly complete: boolean }): void {
    this.#wishes.plan = { plan, isComplete: complete };
    this.#connection?.pushPlan();
    this.#results = this.#present();
  }

  lastPlan(): Promise<NodePlan> {
    return this.#ask((connection) => connection.lastPlan());
  }

  results(): DaemonResults {
    return this.#results;
  }

  onChange(callback: (results: DaemonResults) => void): () => void {
    this.#resultListeners.add(callback);
    return () => void this.#resultListeners.delete(callback);
  }

  /** Also resolves when the daemon cannot be reached: the results say so. */
  async settled(): Promise<DaemonResults> {
    while (!this.#results.isSettled && this.#lost === undefined && !this.#closing.signal.aborted)
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.#results;
  }

  counters(): Promise<readonly InstanceCounters[]> {
    return this.#ask((connection) => connection.counters());
  }

  inventory(): Promise<Inventory> {
    return this.#ask((connection) => connection.inventory());
  }

  /** Of the daemon that was reached last. */
  version(): DaemonVersion {
    if (this.#version === undefined) throw new TypeError("ask for the version: the daemon has not told it yet");
    return this.#version;
  }

  /** What is in the kernel stays in force. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.#files[Symbol.dispose]();
    clearTimeout(this.#grace);
    this.#connection?.hangUp();
    this.#retryNow();
    await this.#ended;
    this.#wake();
  }

  async #run(): Promise<void> {
    const { firstMs, longestMs } = this.#options.retry ?? usualRetry;
    let waitMs = firstMs;
    while (!this.#closing.signal.aborted) {
      const material = this.#files.current();
      if (material !== undefined && material.notAfter < Date.now())
        this.#cannotReach(`reach the daemon: the agent's certificate ${this.#options.tls.cert} has ended; renew it`);
      else if (material !== undefined && material.notBefore > Date.now())
        this.#cannotReach(
          `reach the daemon: the agent's certificate ${this.#options.tls.cert} does not hold yet; look at the clock of this node and of who issued it`,
        );
      else if (material !== undefined) {
        const wasUp = await this.#connect(material);
        waitMs = wasUp ? firstMs : waitMs;
        if (this.#closing.signal.aborted) return;
      }
      await this.#pause(waitMs);
      waitMs = Math.min(longestMs, waitMs * 2);
    }
  }

  /** Until the connection ends. Whether it had been up. */
  async #connect(material: NonNullable<ReturnType<TlsFiles["current"]>>): Promise<boolean> {
    const connection = new DaemonConnection({
      socket: this.#options.socket,
      material,
      version: this.#options.version,
      agentId: this.#agentId,
      protocols: this.#options.protocols,
      layouts: this.#options.layouts ?? {},
      wishes: this.#wishes,
      onUp: (version) => {
        this.#version = version;
        this.#found();
      },
      onFacts: (facts) => {
        this.#facts = facts;
        for (const tell of this.#factsListeners) tell(facts);
      },
      onResults: (results) => {
        this.#told = results;
        this.#publish();
      },
    });
    this.#connection = connection;
    try {
      await connection.serve();
      if (!connection.isHungUp) this.#cannotReach(connectionFailure(this.#options.socket, undefined).message);
    } catch (error) {
      if (!this.#closing.signal.aborted && !connection.isHungUp)
        this.#cannotReach(connectionFailure(this.#options.socket, error).message);
    } finally {
      this.#connection = undefined;
      if (!this.#closing.signal.aborted) this.#startGrace();
    }
    return connection.wasUp;
  }

  #found(): void {
    clearTimeout(this.#grace);
    this.#grace = undefined;
    this.#lost = undefined;
    if (this.#said !== "") this.#options.onNotice?.(`reach the daemon at ${this.#options.socket}: it answers again`);
    this.#said = "";
    this.#first.resolve();
  }

  /** A daemon that is restarted is back soon: nobody need hear of it. */
  #startGrace(): void {
    this.#publish();
    this.#grace ??= setTimeout(() => {
      this.#lost = this.#said === "" ? connectionFailure(this.#options.socket, undefined).message : this.#said;
      this.#publish();
    }, this.#options.graceMs ?? 3000);
    this.#grace.unref();
  }

  #publish(): void {
    this.#results = this.#present();
    for (const tell of this.#resultListeners) tell(this.#results);
    if (this.#results.isSettled || this.#lost !== undefined) this.#wake();
  }

  #present(): DaemonResults {
    const connection = this.#connection;
    const isCurrent = connection?.isUp === true && connection.isInForce(this.#told.revision);
    return {
      ...this.#told,
      isSettled: this.#told.isSettled && isCurrent,
      trouble: this.#lost ?? connection?.refusal ?? this.#told.trouble,
    };
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  async #ask<T>(question: (connection: DaemonConnection) => Promise<T>): Promise<T> {
    const connection = this.#connection;
    if (connection?.isUp !== true)
      throw new KernelError(
        `ask the daemon at ${this.#options.socket}: it cannot be reached now; it is tried again by itself`,
        { code: "unreachable", call: "CONNECT", retry: "backoff" },
      );
    return question(connection);
  }

  /** Why may change while it is away. */
  #cannotReach(why: string): void {
    this.#say(why);
    if (this.#lost === undefined || this.#lost === why) return;
    this.#lost = why;
    this.#publish();
  }

  #say(text: string): void {
    if (this.#said === text) return;
    this.#said = text;
    this.#options.onNotice?.(text);
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms * (0.75 + Math.random() / 2));
      this.#retryNow = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

const nothingKnown: DaemonResults = {
  revision: 0,
  isComplete: false,
  isSettled: false,
  isPaused: false,
  items: [],
  healed: [],
  applyMs: undefined,
  trouble: undefined,
};
