import { setImmediate as yieldToLoop } from "node:timers/promises";
import { sameRef, tellEach, type Clock } from "@bpfleet/base";
import {
  decodeEvent,
  eventSize,
  encodeSampling,
  eventsSpec,
  instanceIdOf,
  isFromPeer,
  lostEventsSpec,
  readLostEvents,
  traceSpec,
  type Feature,
  type LostEvents,
  type MapReadings,
  type Sampling,
} from "@bpfleet/features";
import {
  isInterfacePoint,
  mapIdentity,
  noEntries,
  type FeatureInstance,
  type KernelPort,
  type MapSpec,
  type NodeFacts,
  type NodePlan,
} from "@bpfleet/kernel";
import type { CounterReader } from "./counters.ts";
import type { FlowLog } from "./flow-log.ts";
import type { TraceEvent, TraceOptions } from "./daemon.ts";
import { EventThrottle } from "./event-throttle.ts";

/** What explains an event is read again after this long. */
const readingsMs = 1000;
/** The kernel's count of what it lost is read no sooner again. */
const lossesMs = 50;
const sliceRecords = 256;
const calmMs = 250;
const mostEvery = 0xffffffff;

export interface EventHubOptions {
  readonly kernel: KernelPort;
  readonly features: readonly Feature[];
  readonly reader: CounterReader;
  readonly plan: () => NodePlan;
  readonly facts: () => NodeFacts | undefined;
  readonly clock: Clock;
  readonly onTrouble: (error: unknown) => void;
  /** Takes the records that are not of samples. */
  readonly log?: Pick<FlowLog, "isWanted" | "take"> | undefined;
}

interface Subscription {
  readonly options: TraceOptions;
  readonly onEvents: (events: readonly TraceEvent[]) => void;
  /** Matching packets since the last one that was told. */
  skipped: number;
  /** About how many were left out since the last one that was told. */
  missed: number;
}

/** Hands sampled verdicts to whoever wants them; programs report nothing while nobody does. */
export class EventHub implements AsyncDisposable {
  readonly #options: EventHubOptions;
  readonly #subscriptions = new Set<Subscription>();
  readonly #readings = new Map<string, { readonly at: number; readonly readings: Promise<MapReadings | undefined> }>();
  #reader: AsyncDisposable | undefined;
  #work: Promise<void> = Promise.resolve();
  #delivery: Promise<void> = Promise.resolve();
  readonly #throttle = new EventThrottle();
  #calming: NodeJS.Timeout | undefined;
  /** What the kernel had lost when it was read last; not known while nobody looks. */
  #lost: { readonly verdicts: bigint; readonly atMs: number } | undefined;
  #losses: Promise<void> = Promise.resolve();

  constructor(options: EventHubOptions) {
    this.#options = options;
  }

  async subscribe(options: TraceOptions, onEvents: Subscription["onEvents"]): Promise<AsyncDisposable> {
    const subscription: Subscription = {
      options: { ...options, every: Math.max(1, Math.trunc(options.every)) },
      onEvents,
      skipped: 0,
      missed: 0,
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

  /** `undefined` where nothing that is in force reports. */
  async lost(): Promise<LostEvents | undefined> {
    const { kernel, plan } = this.#options;
    const spec = plan().maps.find(({ key }) => key === lostEventsSpec.key);
    const entries = spec && (await kernel.readMap(mapIdentity(spec)));
    return entries && readLostEvents(entries);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscriptions.clear();
    clearInterval(this.#calming);
    await this.refresh();
  }

  async #apply(): Promise<void> {
    await this.#reader?.[Symbol.asyncDispose]();
    this.#reader = undefined;
    // Maps are large, and may be others now.
    this.#readings.clear();
    const { kernel, plan } = this.#options;
    const [trace, ring] = [traceSpec, eventsSpec].map(({ key }) => plan().maps.find((spec) => spec.key === key));
    if (trace === undefined || ring === undefined) return;
    const entries = await kernel.readMap(mapIdentity(trace));
    // Not in the kernel yet: the loop tells when it is.
    if (entries === undefined) return;
    if (this.#subscriptions.size > 0 || this.#options.log?.isWanted() === true) {
      this.#reader = await kernel.readRing(mapIdentity(ring), (records) => this.#receive(records));
    }
    if (this.#subscriptions.size === 0) this.#lost = undefined;
    else await this.#countLosses(0);
    const value = this.#sampling();
    if (Buffer.from(value).equals(entries.values)) return;
    await this.#write(trace, value);
  }

  async #write(trace: MapSpec, values: Uint8Array): Promise<void> {
    const entries = { count: 1, keys: new Uint8Array(4), values };
    await this.#options.kernel.writeMap(mapIdentity(trace), entries, noEntries);
  }

  #sampling(): Uint8Array {
    const wanted = this.#wanted();
    return encodeSampling({ ...wanted, every: Math.min(mostEvery, wanted.every * this.#throttle.factor) });
  }

  /** The reader goes on. */
  #resample(): Promise<void> {
    this.#work = this.#work
      .then(async () => {
        const trace = this.#options.plan().maps.find(({ key }) => key === traceSpec.key);
        if (trace !== undefined && this.#reader !== undefined) await this.#write(trace, this.#sampling());
        const atMs = kernelMs();
        // What was lost until now stood for as many as before.
        await this.#countLosses(0);
        this.#throttle.switched(atMs);
      })
      .catch((error: unknown) => this.#options.onTrouble(error));
    return this.#work;
  }

  /** The least that serves every subscription. */
  #wanted(): Sampling {
    const all = [...this.#subscriptions].map(({ options }) => options);
    if (all.length === 0) return { every: 0, only: "all" };
    const plan = this.#options.plan();
    const owners = all.map(({ owner }) => owner);
    const instances = plan.instances.filter((instance) =>
      owners.some((owner) => owner === undefined || sameRef(owner, instance.owner)),
    );
    const [instance] = instances;
    return {
      every: Math.min(...all.map(({ every }) => every)),
      only: (["all", "flow"] as const).find((wish) => all.some(({ only }) => only === wish)) ?? "drop",
      instanceId:
        instances.length === 1 && instance !== undefined && hasOwnEvents(instance, plan)
          ? instanceIdOf(instance.key)
          : undefined,
    };
  }

  #receive(records: Iterable<Uint8Array>): void {
    const now = kernelMs();
    const copies: Uint8Array[] = [];
    // The buffer behind the records is the reader's: copy before the first await.
    const logged: Uint8Array[] = [];
    for (const record of records) {
      if (record.byteLength < eventSize) logged.push(Uint8Array.from(record));
      else if (this.#subscriptions.size > 0 && this.#throttle.take(timeOf(record), now))
        copies.push(Uint8Array.from(record));
    }
    const { log, onTrouble } = this.#options;
    if (logged.length > 0 && log !== undefined)
      tellEach([(taken: typeof logged) => log.take(taken)], onTrouble, logged);
    if (this.#throttle.rises()) this.#slowDown();
    if (copies.length === 0) return;
    this.#delivery = this.#delivery
      .then(() => this.#deliver(copies))
      .catch((error: unknown) => this.#options.onTrouble(error));
  }

  /** In turn, so that no count is told twice. A map that was made anew counts from 0. */
  #countLosses(atLeastMs: number): Promise<void> {
    this.#losses = this.#losses
      .then(async () => {
        const before = this.#lost;
        const atMs = kernelMs();
        if (before !== undefined && atMs - before.atMs < atLeastMs) return;
        const { verdicts } = (await this.lost()) ?? { verdicts: 0n };
        if (before !== undefined)
          this.#throttle.lose(Number(verdicts >= before.verdicts ? verdicts - before.verdicts : verdicts));
        if (this.#subscriptions.size > 0) this.#lost = { verdicts, atMs };
      })
      .catch((error: unknown) => this.#options.onTrouble(error));
    return this.#losses;
  }

  async #deliver(records: readonly Uint8Array[]): Promise<void> {
    await this.#countLosses(lossesMs);
    for (let from = 0; from < records.length && this.#subscriptions.size > 0; from += sliceRecords) {
      const slice = records.slice(from, from + sliceRecords);
      const events = (await Promise.all(slice.map((record) => this.#decode(record)))).filter(
        (event) => event !== undefined,
      );
      const sampledEvery = this.#wanted().every * this.#throttle.factor;
      const missed = this.#throttle.takeMissed();
      for (const subscription of this.#subscriptions) {
        subscription.missed += missed;
        const [first, ...others] = events.filter((event) => isWanted(event, subscription, Math.max(1, sampledEvery)));
        if (first === undefined) continue;
        subscription.onEvents([subscription.missed > 0 ? { ...first, missed: subscription.missed } : first, ...others]);
        subscription.missed = 0;
      }
      await yieldToLoop();
    }
  }

  /** Programs report less while more comes than is told; the rate is looked at until it is calm. */
  #slowDown(): void {
    void this.#resample();
    let since = kernelMs();
    this.#calming ??= setInterval(() => {
      const now = kernelMs();
      if (this.#throttle.calms(since, now)) void this.#resample();
      since = now;
      if (this.#throttle.factor > 1) return;
      clearInterval(this.#calming);
      this.#calming = undefined;
    }, calmMs).unref();
  }

  async #decode(record: Uint8Array): Promise<TraceEvent | undefined> {
    const { plan, facts, features, clock } = this.#options;
    const event = decodeEvent(record);
    const instance = event && plan().instances.find(({ key }) => instanceIdOf(key) === event.instanceId);
    const explanations = instance && features.find((each) => each.name === instance.feature)?.explanations;
    const readings = instance && explanations && (await this.#readingsOf(instance, explanations.roles));
    if (event === undefined || instance === undefined || explanations === undefined || readings === undefined)
      return undefined;
    const name = facts()?.interfaces.find((each) => each.ifindex === event.ifindex)?.name ?? "";
    const ageMs = Number(process.hrtime.bigint() - event.timeNs) / 1e6;
    const { head, layer } = event;
    const decision = explanations.explain(instance, event.scratch, readings, {
      ...event,
      nowNs: process.hrtime.bigint(),
    });
    const { peer } = decision;
    return {
      at: clock.now() - ageMs,
      program: programOf(instance, name, plan(), peer === undefined ? undefined : isFromPeer(peer, head, layer)),
      ifindex: event.ifindex,
      interface: name,
      decision,
      lengthBytes: event.lengthBytes,
      head,
      layer,
      ...(event.opensFlow && { opensFlow: true }),
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

/** The clock of programs. */
function kernelMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** When it was reported; records that are cut short have none. */
function timeOf(record: Uint8Array): number {
  if (record.byteLength < 8) return 0;
  return Number(new DataView(record.buffer, record.byteOffset).getBigUint64(0, true)) / 1e6;
}

function isWanted(event: TraceEvent, subscription: Subscription, sampledEvery: number): boolean {
  const { only, owner, every } = subscription.options;
  if (only !== "all" && event.decision.verdict !== "drop" && !(only === "flow" && event.opensFlow)) return false;
  if (owner !== undefined && !sameRef(owner, event.decision.owner)) return false;
  // Others may want more than this one: of what comes, only its share.
  subscription.skipped += sampledEvery;
  if (subscription.skipped < every) return false;
  subscription.skipped = 0;
  return true;
}

/**
 * An instance may judge by several programs; the interface tells them apart, and where it has one for each direction, who
 * sent the packet.
 */
function programOf(
  instance: FeatureInstance,
  interfaceName: string,
  plan: NodePlan,
  isReceived: boolean | undefined,
): string {
  const here = plan.hooks.filter(({ point }) => isInterfacePoint(point) && point.interface === interfaceName);
  const programs = here
    .flatMap((hook) => hook.members.map((member) => member.program))
    .filter((program) => instance.programs.includes(program));
  const ofDirection = programs.find((program) => program.includes("ingress") === isReceived);
  return (isReceived === undefined ? undefined : ofDirection) ?? programs[0] ?? instance.programs[0] ?? instance.key;
}

/** Programs that serve several objects report for the node; whose the verdict is shows in what they say. */
function hasOwnEvents({ key, programs }: FeatureInstance, plan: NodePlan): boolean {
  const own = plan.programs.filter((program) => programs.includes(program.key));
  const ids = own.flatMap(({ globals }) => globals["instance_id"] ?? []);
  return ids.length === 0 || ids.includes(instanceIdOf(key));
}
