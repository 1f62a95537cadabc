import { setImmediate as yieldToLoop } from "node:timers/promises";
import { sameRef, type Clock } from "@bpfleet/base";
import type { Decision, Feature, MapReadings } from "@bpfleet/features";
import {
  decodeEvent,
  encodeTraceSwitch,
  eventLayer,
  eventSize,
  traceSwitchSize,
  verdict,
} from "@bpfleet/features/shared";
import {
  mapIdentity,
  noEntries,
  type FeatureInstance,
  type KernelPort,
  type NodeFacts,
  type NodePlan,
} from "@bpfleet/kernel";
import type { CounterReader } from "./counters.ts";
import type { TraceEvent, TraceOptions } from "./daemon.ts";

/** Keys of the node-wide maps through which programs report samples (bpf/include/settle.h). */
export const eventsKey = "node/events";
export const traceKey = "node/trace";
const decisionOffset = 32;
const decisionSize = 32;
/** What explains an event is read again after this long. */
const readingsMs = 1000;
/** Records that may wait to be decoded; in a flood the rest is left out, the loop has other work too. */
const backlogLimit = 4096;
const sliceRecords = 256;

export interface EventHubOptions {
  readonly kernel: KernelPort;
  readonly features: readonly Feature[];
  readonly reader: CounterReader;
  readonly plan: () => NodePlan;
  readonly facts: () => NodeFacts | undefined;
  readonly clock: Clock;
  readonly onTrouble: (error: unknown) => void;
}

interface Subscription {
  readonly options: TraceOptions;
  readonly onEvents: (events: readonly TraceEvent[]) => void;
  /** Matching packets since the last one that was told. */
  skipped: number;
}

/** Hands sampled verdicts to whoever wants them; programs report nothing while nobody does. */
export class EventHub implements AsyncDisposable {
  readonly #options: EventHubOptions;
  readonly #subscriptions = new Set<Subscription>();
  readonly #readings = new Map<string, { readonly at: number; readonly readings: Promise<MapReadings | undefined> }>();
  #reader: AsyncDisposable | undefined;
  #work: Promise<void> = Promise.resolve();
  #delivery: Promise<void> = Promise.resolve();
  #backlog = 0;

  constructor(options: EventHubOptions) {
    this.#options = options;
  }

  async subscribe(options: TraceOptions, onEvents: Subscription["onEvents"]): Promise<AsyncDisposable> {
    const subscription: Subscription = {
      options: { ...options, every: Math.max(1, Math.trunc(options.every)) },
      onEvents,
      skipped: 0,
    };
    this.#subscriptions.add(subscription);
    await this.refresh();
    return {
      [Symbol.asyncDispose]: async () => {
        if (this.#subscriptions.delete(subscription)) await this.refresh();
      },
    };
  }

  /** Makes the kernel report what is wanted now; to be called when the plan or its maps are others. */
  refresh(): Promise<void> {
    this.#work = this.#work.then(() => this.#apply()).catch((error: unknown) => this.#options.onTrouble(error));
    return this.#work;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscriptions.clear();
    await this.refresh();
  }

  async #apply(): Promise<void> {
    await this.#reader?.[Symbol.asyncDispose]();
    this.#reader = undefined;
    const { kernel, plan } = this.#options;
    const trace = plan().maps.find((spec) => spec.key === traceKey);
    const ring = plan().maps.find((spec) => spec.key === eventsKey);
    if (trace === undefined || ring === undefined) return;
    const value = new Uint8Array(traceSwitchSize);
    encodeTraceSwitch(this.#wanted(), new DataView(value.buffer));
    const entries = await kernel.readMap(mapIdentity(trace));
    // Not in the kernel yet: the loop tells when it is.
    if (entries === undefined) return;
    if (this.#subscriptions.size > 0)
      this.#reader = await kernel.readRing(mapIdentity(ring), (records) => this.#receive(records));
    if (!Buffer.from(value).equals(entries.values)) {
      await kernel.writeMap(mapIdentity(trace), { count: 1, keys: new Uint8Array(4), values: value }, noEntries);
    }
  }

  /** The least that serves every subscription. */
  #wanted(): Parameters<typeof encodeTraceSwitch>[0] {
    const all = [...this.#subscriptions].map(({ options }) => options);
    const every = all.length === 0 ? 0 : Math.min(...all.map((options) => options.every));
    const verdicts = all.every((options) => options.only === "drop") ? 1 << verdict.drop : 0;
    const instances = new Set(all.flatMap(({ owner }) => this.#instanceIds(owner)));
    const [only] = instances;
    return {
      every,
      verdicts: all.length === 0 ? 0 : verdicts,
      instance: instances.size === 1 && only !== undefined ? only : 0n,
    };
  }

  /** 0 is "every instance". */
  #instanceIds(owner: TraceOptions["owner"]): bigint[] {
    if (owner === undefined) return [0n];
    const plan = this.#options.plan();
    return plan.instances
      .filter((instance) => sameRef(instance.owner, owner))
      .flatMap((instance) => programsOf(plan, instance).map(({ id }) => id));
  }

  #receive(records: Iterable<Uint8Array>): void {
    if (this.#backlog >= backlogLimit) return;
    // The buffer behind the records is the reader's: copy before the first await.
    const copies = Array.from(records, (record) => Uint8Array.from(record)).filter(
      (record) => record.length >= eventSize,
    );
    this.#backlog += copies.length;
    this.#delivery = this.#delivery
      .then(() => this.#deliver(copies))
      .catch((error: unknown) => this.#options.onTrouble(error))
      .finally(() => (this.#backlog -= copies.length));
  }

  async #deliver(records: readonly Uint8Array[]): Promise<void> {
    for (let from = 0; from < records.length && this.#subscriptions.size > 0; from += sliceRecords) {
      const slice = records.slice(from, from + sliceRecords);
      const events = (await Promise.all(slice.map((record) => this.#decode(record)))).filter(
        (event) => event !== undefined,
      );
      const { every: sampledEvery } = this.#wanted();
      for (const subscription of this.#subscriptions) {
        const chosen = events.filter((event) => isWanted(event, subscription, Math.max(1, sampledEvery)));
        if (chosen.length > 0) subscription.onEvents(chosen);
      }
      await yieldToLoop();
    }
  }

  async #decode(record: Uint8Array): Promise<TraceEvent | undefined> {
    const { plan, facts, features, clock } = this.#options;
    const event = decodeEvent(new DataView(record.buffer, record.byteOffset, record.byteLength));
    const found = findInstance(plan(), event.instance);
    const feature = found && features.find((each) => each.name === found.instance.feature);
    if (found === undefined || feature?.explanations === undefined) return undefined;
    const readings = await this.#readingsOf(found.instance, feature.explanations.roles);
    if (readings === undefined) return undefined;
    const decision: Decision = feature.explanations.explain(
      found.instance,
      record.subarray(decisionOffset, decisionOffset + decisionSize),
      readings,
    );
    const ageMs = Number(process.hrtime.bigint() - event.timeNs) / 1e6;
    return {
      at: clock.now() - ageMs,
      program: found.program,
      ifindex: event.ifindex,
      interface: facts()?.interfaces.find((each) => each.ifindex === event.ifindex)?.name ?? "",
      decision,
      lengthBytes: event.length,
      head: event.head.subarray(0, Math.min(event.headLength, event.head.length)),
      layer: event.layer === eventLayer.network ? "network" : "ethernet",
    };
  }

  #readingsOf(instance: FeatureInstance, roles: readonly string[]): Promise<MapReadings | undefined> {
    const { clock, plan, reader } = this.#options;
    const cached = this.#readings.get(instance.key);
    if (cached !== undefined && clock.monotonicMs() - cached.at < readingsMs) return cached.readings;
    const readings = reader.readings(plan(), instance, roles);
    this.#readings.set(instance.key, { at: clock.monotonicMs(), readings });
    return readings;
  }
}

function isWanted(event: TraceEvent, subscription: Subscription, sampledEvery: number): boolean {
  const { only, owner, every } = subscription.options;
  if (only === "drop" && event.decision.verdict !== "drop") return false;
  if (owner !== undefined && !sameRef(owner, event.decision.owner)) return false;
  // Others may want more than this one: of what comes, only its share.
  subscription.skipped += sampledEvery;
  if (subscription.skipped < every) return false;
  subscription.skipped = 0;
  return true;
}

function findInstance(
  plan: NodePlan,
  id: bigint,
): { readonly instance: FeatureInstance; readonly program: string } | undefined {
  for (const instance of plan.instances) {
    const program = programsOf(plan, instance).find((each) => each.id === id);
    if (program !== undefined) return { instance, program: program.key };
  }
  return undefined;
}

/** Programs carry the number by which events name them in a global. */
function programsOf(plan: NodePlan, instance: FeatureInstance): { readonly key: string; readonly id: bigint }[] {
  return plan.programs
    .filter((program) => instance.programs.includes(program.key))
    .flatMap(({ key, globals }) => {
      const id = globals["instance_id"];
      return typeof id === "bigint" || typeof id === "number" ? [{ key, id: BigInt(id) }] : [];
    });
}
