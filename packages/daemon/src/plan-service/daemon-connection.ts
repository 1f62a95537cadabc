import { X509Certificate } from "node:crypto";
import { connect as connectTls, type PeerCertificate } from "node:tls";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { KernelError } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import { emptyPlan, type Inventory, type NodeFacts, type NodePlan } from "@bpfleet/kernel";
import {
  decodeValue,
  DocumentReader,
  encodeDifference,
  outlineOf,
  PlanService,
  type Frame,
  type HeldDocument,
  type Hello,
  type Outline,
  type PlanPart,
} from "@bpfleet/wire";
import { decodeInventory } from "../api/from-wire.ts";
import type { DaemonResults, DaemonVersion } from "../daemon.ts";
import { daemonIdentity, whyNotPeer } from "../tls/peer-identity.ts";
import type { TlsMaterial } from "../tls/tls-files.ts";
import { connectionFailure } from "./connection-failure.ts";
import { decodeAllCounters } from "./counters-document.ts";
import { factsOf } from "./facts-document.ts";
import { decodePlan, planItems } from "./plan-document.ts";
import { hashItem, largestDocumentBytes, protocols as ownProtocols, type ProtocolRange } from "./protocol.ts";
import { cutValue, readValue } from "./parts.ts";
import type { Wishes, WishedPlan } from "./remote-daemon.ts";
import { resultsOf } from "./results-document.ts";

export interface DaemonConnectionOptions {
  readonly socket: string;
  readonly material: TlsMaterial;
  readonly version: string;
  readonly agentId: string;
  readonly protocols: ProtocolRange | undefined;
  readonly layouts: Readonly<Record<string, string>>;
  readonly wishes: Wishes;
  /** The daemon knows what is watched, and its facts are here. */
  readonly onUp: (version: DaemonVersion) => void;
  readonly onFacts: (facts: NodeFacts) => void;
  readonly onResults: (results: DaemonResults) => void;
}

/** The inventory comes in one piece. */
const readMaxBytes = 64 << 20;
/** A daemon that answers no ping for so long hangs. */
const pingMs = 15_000;
/** Counters may be of the plan before, when the plan has just changed. */
const countAttempts = 3;

/** One connection to the daemon, from the call to the end. */
export class DaemonConnection {
  readonly #options: DaemonConnectionOptions;
  readonly #sessions: Http2SessionManager;
  readonly #client: ReturnType<typeof createClient<typeof PlanService>>;
  readonly #hangUp = new AbortController();
  readonly #facts: Incoming;
  readonly #results: Incoming;
  #hello: Hello | undefined;
  #latest: { readonly facts: NodeFacts; readonly serial: bigint } | undefined;
  #lastResults: DaemonResults | undefined;
  #neededSerial: bigint | undefined;
  #waiting: { readonly serial: bigint; readonly resolve: () => void }[] = [];
  #isUp = false;
  #wasUp = false;
  #outline: Outline | undefined;
  #sent: WishedPlan | undefined;
  #sentRevision = 0;
  #refused: { readonly wish: WishedPlan; readonly why: string } | undefined;
  #isPushing = false;

  constructor(options: DaemonConnectionOptions) {
    this.#options = options;
    this.#facts = new Incoming();
    this.#results = new Incoming();
    const baseUrl = "https://bpfd";
    this.#sessions = new Http2SessionManager(
      baseUrl,
      { pingIntervalMs: pingMs, pingTimeoutMs: pingMs },
      { createConnection: () => dial(options.socket, options.material) },
    );
    this.#client = createClient(
      PlanService,
      createGrpcTransport({ baseUrl, sessionManager: this.#sessions, readMaxBytes }),
    );
  }

  /** Facts are here, and the daemon knows what is watched. */
  get isUp(): boolean {
    return this.#isUp;
  }

  get wasUp(): boolean {
    return this.#wasUp;
  }

  get isHungUp(): boolean {
    return this.#hangUp.signal.aborted;
  }

  /** Why the daemon does not take the present plan. */
  get refusal(): string | undefined {
    return this.#refused?.wish === this.#options.wishes.plan ? this.#refused?.why : undefined;
  }

  /** Whether results of this revision are those of the plan that is wanted now. */
  isInForce(revision: number): boolean {
    const { plan } = this.#options.wishes;
    return this.refusal !== undefined || (this.#sent === plan && revision >= this.#sentRevision);
  }

  /** Until the daemon or this end hangs up; throws what broke it. */
  async serve(): Promise<void> {
    const { version, agentId, protocols = ownProtocols } = this.#options;
    const request = {
      oldestProtocol: protocols.oldest,
      newestProtocol: protocols.newest,
      agentVersion: version,
      agentId,
    };
    try {
      for await (const { event } of this.#client.open(request, { signal: this.#hangUp.signal })) {
        if (event.case === "hello") {
          this.#hello = event.value;
          this.#sayWishes().catch(() => this.hangUp());
        } else if (event.case === "facts" && event.value.frame) {
          const document = this.#facts.take(event.value.frame);
          if (document !== undefined) this.#gotFacts(factsOf(document), event.value.serial);
        } else if (event.case === "results" && event.value.frame) {
          const document = this.#results.take(event.value.frame);
          if (document !== undefined) this.#gotResults(resultsOf(document));
        }
      }
    } finally {
      this.#isUp = false;
      this.#sessions.abort();
      for (const { resolve } of this.#waiting.splice(0)) resolve();
    }
  }

  hangUp(): void {
    this.#hangUp.abort();
  }

  async watchCgroups(): Promise<void> {
    if (this.#hello === undefined) return;
    await this.#told(async () => {
      const paths = [...(this.#options.wishes.cgroups ?? [])];
      return (await this.#client.watchCgroups({ session: this.#session(), paths })).serial;
    });
  }

  async watchBytecode(): Promise<void> {
    if (this.#hello === undefined) return;
    await this.#told(async () => {
      const { bytecode = { sources: [], secrets: {} } } = this.#options.wishes;
      return (await this.#client.watchBytecode(asyncOf(cutValue(bytecode, this.#session())))).serial;
    });
  }

  async watchEndpoints(): Promise<void> {
    if (this.#hello === undefined) return;
    await this.#told(() => this.#sayEndpoints());
  }

  /** Sends the plan that is wanted, unless it was sent; the newest when several come meanwhile. */
  pushPlan(): void {
    if (this.#isPushing || !this.#isUp) return;
    this.#pushAll().catch(() => this.hangUp());
  }

  async counters(): Promise<readonly InstanceCounters[]> {
    for (let attempt = 1; ; attempt++) {
      const plan = this.#sent?.plan;
      const value = await this.#call(() =>
        readValue("the counters", this.#client.readCounters({ session: this.#session() }), () => undefined),
      );
      const counters = plan === this.#sent?.plan ? decodeAllCounters(value, plan ?? emptyPlan) : undefined;
      if (counters !== undefined) return counters;
      if (attempt === countAttempts)
        throw new KernelError("read counters: the plan changes too fast; it is tried again by itself", {
          code: "stale",
          call: "ReadCounters",
          retry: "backoff",
        });
    }
  }

  async lastPlan(): Promise<NodePlan> {
    try {
      const value = await readValue(
        "the last plan",
        this.#client.readPlan({ session: this.#session() }),
        () => undefined,
      );
      return decodePlan(value);
    } catch (error) {
      // A daemon from before that could be asked.
      if (error instanceof ConnectError && error.code === Code.Unimplemented) return emptyPlan;
      throw connectionFailure(this.#options.socket, error);
    }
  }

  async inventory(): Promise<Inventory> {
    return decodeInventory(await this.#call(() => this.#client.readInventory({ session: this.#session() })));
  }

  #session(): string {
    return this.#hello?.session ?? "";
  }

  /** What the daemon must know before its facts are whole. */
  async #sayWishes(): Promise<void> {
    const { wishes } = this.#options;
    const serials = [0n];
    if (wishes.cgroups !== undefined)
      serials.push((await this.#client.watchCgroups({ session: this.#session(), paths: [...wishes.cgroups] })).serial);
    if (wishes.endpoints !== undefined) serials.push(await this.#sayEndpoints());
    if (wishes.bytecode !== undefined)
      serials.push((await this.#client.watchBytecode(asyncOf(cutValue(wishes.bytecode, this.#session())))).serial);
    this.#neededSerial = serials.reduce((most, each) => (each > most ? each : most));
    this.#comeUp();
  }

  async #sayEndpoints(): Promise<bigint> {
    const { endpoints = { wishes: [], reach: [] } } = this.#options.wishes;
    try {
      return (await this.#client.watchEndpoints(asyncOf(cutValue(endpoints, this.#session())))).serial;
    } catch (error) {
      // A daemon from before there were policies: it tells of no endpoints.
      if (error instanceof ConnectError && error.code === Code.Unimplemented) return 0n;
      throw error;
    }
  }

  #gotFacts(facts: NodeFacts, serial: bigint): void {
    this.#checkLayouts(facts);
    this.#latest = { facts, serial };
    if (!this.#isUp) return this.#comeUp();
    this.#options.onFacts(facts);
    const isDue = (each: { readonly serial: bigint }): boolean => each.serial <= serial;
    const due = this.#waiting.filter(isDue);
    this.#waiting = this.#waiting.filter((each) => !isDue(each));
    for (const { resolve } of due) resolve();
  }

  /** What is written for other programs would be read as something else, and nobody would see it. */
  #checkLayouts({ objects }: NodeFacts): void {
    const { layouts, version } = this.#options;
    const other = Object.keys(layouts).filter((name) => ![undefined, layouts[name]].includes(objects[name]?.layout));
    if (other.length === 0) return;
    const daemon = this.#hello?.version ?? "";
    throw new KernelError(
      `drive daemon ${daemon}: its programs ${other.join(", ")} are not those that agent ${version} plans for; run agent and daemon of one version`,
      { code: "invalid", call: "Open", retry: "when-changed" },
    );
  }

  #gotResults(results: DaemonResults): void {
    this.#lastResults = results;
    if (this.#isUp) this.#options.onResults(results);
    else this.#comeUp();
  }

  #comeUp(): void {
    const needed = this.#neededSerial;
    const latest = this.#latest;
    if (this.#isUp || this.isHungUp || needed === undefined || latest === undefined || latest.serial < needed) return;
    if (this.#lastResults === undefined || this.#hello === undefined) return;
    this.#isUp = true;
    this.#wasUp = true;
    const { version, kernel, node, libbpf } = this.#hello;
    this.#options.onFacts(latest.facts);
    this.#options.onUp({ version, kernel, node, libbpf });
    this.#options.onResults(this.#lastResults);
    this.pushPlan();
  }

  /** Resolves when facts are here that know of what was said. */
  async #told(say: () => Promise<bigint>): Promise<void> {
    try {
      const serial = await say();
      if (!this.#isUp || (this.#latest !== undefined && this.#latest.serial >= serial)) return;
      await new Promise<void>((resolve) => this.#waiting.push({ serial, resolve }));
    } catch {
      // It is said again with the next connection.
      this.hangUp();
    }
  }

  async #pushAll(): Promise<void> {
    this.#isPushing = true;
    try {
      for (;;) {
        const wish = this.#options.wishes.plan;
        if (wish === undefined || wish === this.#sent || wish === this.#refused?.wish || !this.#isUp) return;
        await this.#push(wish);
        if (this.#lastResults !== undefined) this.#options.onResults(this.#lastResults);
      }
    } finally {
      this.#isPushing = false;
    }
  }

  /** As the difference to the plan before, and whole when the daemon does not hold that. */
  async #push(wish: WishedPlan): Promise<void> {
    const items = [...planItems(wish.plan)];
    try {
      for (;;) {
        const frames = encodeDifference(this.#outline, items, hashItem);
        const receipt = await this.#client.setPlan(this.#planParts(wish, frames));
        if (!receipt.wantsWhole) {
          this.#outline = outlineOf(items);
          this.#sent = wish;
          this.#sentRevision = receipt.revision;
          return;
        }
        if (this.#outline === undefined) throw new TypeError("send a whole plan: the daemon wants it whole");
        this.#outline = undefined;
      }
    } catch (error) {
      const failure = connectionFailure(this.#options.socket, error);
      if (failure.code !== "invalid") throw error;
      // The same plan would be refused again.
      this.#refused = { wish, why: failure.message };
    }
  }

  async *#planParts(
    { isComplete }: WishedPlan,
    frames: Iterable<Frame>,
  ): AsyncGenerator<Pick<PlanPart, "session" | "isComplete" | "frame">> {
    for (const frame of frames) yield { session: this.#session(), isComplete, frame };
  }

  async #call<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw connectionFailure(this.#options.socket, error);
    }
  }
}

/** A document that comes as differences. */
class Incoming {
  #held: HeldDocument<unknown> | undefined;
  #reader: DocumentReader<unknown> | undefined;

  take(frame: Frame): HeldDocument<unknown> | undefined {
    const options = { hash: hashItem, decode: decodeValue, largestBytes: largestDocumentBytes };
    this.#reader ??= new DocumentReader(this.#held, options);
    const document = this.#reader.take(frame);
    if (document === undefined) return undefined;
    this.#held = document;
    this.#reader = undefined;
    return document;
  }
}

function dial(path: string, { cert, key, ca }: TlsMaterial): ReturnType<typeof connectTls> {
  return connectTls({
    path,
    cert,
    key,
    ca,
    minVersion: "TLSv1.3",
    ALPNProtocols: ["h2"],
    servername: "bpfd",
    checkServerIdentity: (_, { raw }: PeerCertificate) => {
      const why = whyNotPeer(new X509Certificate(raw), daemonIdentity, Date.now());
      return why === undefined
        ? undefined
        : new Error(`reach the daemon at ${path}: whoever answers there is not it: ${why}`);
    },
  });
}

async function* asyncOf<T>(values: Iterable<T>): AsyncGenerator<T> {
  yield* values;
}
