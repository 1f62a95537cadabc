import { release } from "node:os";
import { errorText, KernelError, type Clock } from "@bpfleet/base";
import type { Feature, InstanceCounters } from "@bpfleet/features";
import {
  mapIdentity,
  renderIdentity,
  type BytecodeSource,
  type EndpointWish,
  type Inventory,
  type KernelPort,
  type NodeFacts,
  type NodePlan,
  type ObservedKernel,
  type PolicyReach,
} from "@bpfleet/kernel";
import { libbpfVersion } from "@bpfleet/native";
import type { BytecodeWatch, PullSecrets } from "./bytecode/bytecode-watch.ts";
import type { PodGate } from "./cni/pod-gate.ts";
import type { NodeFactsWatch } from "./facts/node-facts.ts";
import { CounterReader, type HookCounters } from "./counters.ts";
import type {
  Daemon,
  DaemonResults,
  DaemonVersion,
  ExplainRequest,
  Explanation,
  TraceEvent,
  TraceOptions,
} from "./daemon.ts";
import { EventHub } from "./events.ts";
import { explainPacket, whyNotInForce } from "./explain.ts";
import { FlowLog } from "./flow-log.ts";
import type { WorkLoop } from "./loop/work-loop.ts";
import { metricFamilies } from "./metrics/daemon-metrics.ts";
import { renderExposition } from "./metrics/exposition.ts";
import { NodeUpkeep } from "./upkeep.ts";
import type { Firewalls } from "./metrics/firewalls.ts";
import type { Histogram } from "./metrics/histogram.ts";
import type { RuleHistory } from "./rules/rule-history.ts";
import { RuleWatch } from "./rules/rule-watch.ts";

/** Rules beyond this have no series of their own; `ebpfctl counters` shows them all. */
const seriesCap = 10_000;

/** `places`: names of interfaces and paths of cgroups that came, went or are different. */
export type FactsListener = (facts: NodeFacts, places: ReadonlySet<string>) => void;

export interface NodeDaemonParts {
  readonly version: string;
  readonly nodeName: string;
  readonly kernel: KernelPort;
  readonly features: readonly Feature[];
  readonly loop: WorkLoop;
  readonly facts: Pick<NodeFactsWatch, "get" | "watchCgroups" | "watchEndpoints" | "plannedAs" | "inForceAre">;
  readonly bytecode: Pick<BytecodeWatch, "watch">;
  /** Filled by the one who watches the facts. */
  readonly factsListeners: Set<FactsListener>;
  readonly applySeconds: Histogram;
  readonly firewalls: Firewalls;
  readonly clock: Clock;
  readonly onTrouble: (error: unknown) => void;
  /** Takes lines of flows that rules log. */
  readonly writeLog?: ((lines: string) => void) | undefined;
  /** Told of what an agent says of pods, of plans, and of all that changes. */
  readonly gate?: PodGate | undefined;
  /** Of rules, beyond what the kernel holds. */
  readonly history?: RuleHistory | undefined;
  /** What is to be closed, last first, when the daemon stops. */
  readonly closing: AsyncDisposableStack;
}

/** The daemon over its parts; `startDaemon` makes them. */
export class NodeDaemon implements Daemon {
  readonly #parts: NodeDaemonParts;
  readonly #reader: CounterReader;
  readonly #events: EventHub;
  readonly #rules: RuleWatch | undefined;
  readonly #upkeep: NodeUpkeep;
  readonly #log: FlowLog;
  readonly #startedMs: number;
  #counting: Promise<readonly InstanceCounters[]> | undefined;
  #healedTotal = 0;
  #lastHealedAt = 0;
  #stopping: Promise<void> | undefined;

  constructor(parts: NodeDaemonParts) {
    const { kernel, features, loop, facts, clock, onTrouble } = parts;
    this.#parts = parts;
    this.#startedMs = clock.now() - clock.monotonicMs();
    const { history } = parts;
    this.#reader = new CounterReader(kernel, features, history && { history, clock });
    if (history !== undefined)
      this.#rules = new RuleWatch({
        history,
        reader: this.#reader,
        features,
        plan: () => loop.plan(),
        clock,
        onTrouble,
      });
    this.#log = new FlowLog({ plan: () => loop.plan(), facts: () => facts.get(), clock, write: parts.writeLog });
    this.#events = new EventHub({
      log: this.#log,
      kernel,
      features,
      reader: this.#reader,
      clock,
      onTrouble,
      plan: () => loop.plan(),
      facts: () => facts.get(),
    });
    this.#upkeep = new NodeUpkeep({ kernel, features, plan: () => loop.plan(), onTrouble });
    // Maps may have been made anew; and a predecessor may have left the sampling on.
    loop.onChange((results) => {
      this.#countHealed(results);
      this.#rules?.changed(results);
      void this.#events.refresh();
      this.#upkeep.look();
      if (results.isSettled && !results.isPaused) facts.inForceAre(loop.plan(), inForcePrograms(loop.plan(), results));
    });
  }

  facts(): NodeFacts {
    return this.#parts.facts.get();
  }

  onFacts(callback: (facts: NodeFacts) => void): () => void {
    this.#parts.factsListeners.add(callback);
    return () => void this.#parts.factsListeners.delete(callback);
  }

  watchCgroups(paths: readonly string[]): void {
    this.#parts.facts.watchCgroups(paths);
  }

  watchEndpoints(wishes: readonly EndpointWish[], reach: PolicyReach = "everywhere"): Promise<void> {
    this.#parts.gate?.wishesAre({ wishes, reach });
    return this.#parts.facts.watchEndpoints(wishes);
  }

  watchBytecode(sources: readonly BytecodeSource[], secrets: PullSecrets): void {
    this.#parts.bytecode.watch(sources, secrets);
  }

  setPlan(plan: NodePlan, options: { readonly complete: boolean }): number {
    this.#rules?.planChanges(this.#parts.loop.plan(), plan);
    const revision = this.#parts.loop.setPlan(plan, options.complete, this.#rules?.isRead);
    this.#parts.gate?.planned(revision, plan);
    this.#parts.facts.plannedAs(plan);
    return revision;
  }

  lastPlan(): NodePlan {
    return this.#parts.loop.plan();
  }

  results(): DaemonResults {
    return this.#parts.loop.results();
  }

  onChange(callback: (results: DaemonResults) => void): () => void {
    return this.#parts.loop.onChange(callback);
  }

  settled(): Promise<DaemonResults> {
    return this.#parts.loop.settled();
  }

  /** Several who ask at once share one reading. */
  counters(): Promise<readonly InstanceCounters[]> {
    this.#counting ??= this.#reader.read(this.#parts.loop.plan()).finally(() => (this.#counting = undefined));
    return this.#counting;
  }

  hookCounters(): Promise<readonly HookCounters[]> {
    return this.#reader.readHooks(this.#parts.loop.plan());
  }

  pause(): Promise<void> {
    return this.#parts.loop.pause();
  }

  resume(): Promise<void> {
    return this.#parts.loop.resume();
  }

  async explain(request: ExplainRequest): Promise<Explanation> {
    const { kernel, features, loop } = this.#parts;
    const by = { kernel, features, reader: this.#reader };
    const explanation = await explainPacket(request, loop.plan(), this.facts(), by);
    const notInForce = whyNotInForce(request.hook, loop.results());
    return { ...explanation, ...(notInForce !== undefined && { notInForce }) };
  }

  trace(options: TraceOptions, onEvents: (events: readonly TraceEvent[]) => void): Promise<AsyncDisposable> {
    return this.#events.subscribe(options, onEvents);
  }

  recentLog(): readonly string[] {
    return this.#log.recent();
  }

  onLog(callback: (lines: readonly string[]) => void): () => void {
    return this.#log.onLines(callback);
  }

  async observe(withEntries: readonly string[]): Promise<ObservedKernel> {
    const { kernel, loop } = this.#parts;
    const observed = await kernel.observe();
    const wanted = new Set(
      loop
        .plan()
        .maps.filter((spec) => withEntries.includes(spec.key))
        .map((spec) => renderIdentity(mapIdentity(spec))),
    );
    const maps = await Promise.all(
      observed.maps.map(async (map) =>
        wanted.has(renderIdentity(map)) ? { ...map, entries: await kernel.readMap(map) } : map,
      ),
    );
    return { ...observed, maps };
  }

  inventory(): Promise<Inventory> {
    return this.#parts.kernel.inventory();
  }

  version(): DaemonVersion {
    return { version: this.#parts.version, kernel: release(), node: process.version, libbpf: libbpfVersion() };
  }

  /** The text of one scrape. */
  async *metrics(): AsyncGenerator<string> {
    const { nodeName, features, applySeconds, firewalls, loop } = this.#parts;
    const [counters, hooks, lostEvents] = await Promise.all([
      this.counters(),
      this.hookCounters(),
      this.#events.lost(),
    ]);
    yield* renderExposition(
      metricFamilies({
        version: this.version(),
        nodeName,
        results: this.results(),
        counters,
        hooks,
        firewalls: firewalls.read(loop.plan(), this.results()),
        lostEvents,
        applySeconds,
        healedTotal: this.#healedTotal,
        features,
        residentBytes: process.memoryUsage.rss(),
        startedSeconds: this.#startedMs / 1000,
      }),
      { seriesCap },
    );
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(): Promise<void> {
    const { closing } = this.#parts;
    try {
      await this.#upkeep[Symbol.asyncDispose]();
      await this.#events[Symbol.asyncDispose]();
      await this.#rules?.[Symbol.asyncDispose]();
      await closing.disposeAsync();
    } catch (cause) {
      throw new KernelError(`stop the daemon: ${errorText(cause)}`, {
        code: "internal",
        call: "stop",
        retry: "never",
        cause,
      });
    }
  }

  #countHealed({ healed }: DaemonResults): void {
    for (const { at } of healed) if (at > this.#lastHealedAt) this.#healedTotal++;
    this.#lastHealedAt = Math.max(this.#lastHealedAt, ...healed.map(({ at }) => at));
  }
}

/** Loaded, and on their hooks. */
function inForcePrograms({ hooks }: NodePlan, { items }: DaemonResults): ReadonlySet<string> {
  const inForce = (what: "program" | "hook"): string[] =>
    items.flatMap(({ item, key, state }) => (item === what && state === "in-force" ? [key] : []));
  const attached = new Set(inForce("hook"));
  const missed = new Set(
    hooks.flatMap(({ key, members }) => (attached.has(key) ? [] : members.map(({ program }) => program))),
  );
  return new Set(inForce("program").filter((key) => !missed.has(key)));
}
