import { mkdir } from "node:fs/promises";
import { relative } from "node:path";
import { canonicalJson, errorCodes, refKey, type Clock, type ObjectRef } from "@bpfleet/base";
import type { Daemon } from "@bpfleet/daemon";
import type { Feature, InstanceCounters } from "@bpfleet/features";
import { emptyPlan, type NodeFacts, type NodePlan, type PlanProblem } from "@bpfleet/kernel";
import { cgroupAnnotation, type Kind, type KubeObject } from "@bpfleet/kinds";
import { pullSecretsOf, sourcesOf, type BytecodeWatcher } from "./bytecode-sources.ts";
import { lowerObjects, planIntents, type LoweredObjects } from "./compile.ts";
import { DesiredObjects, issueProblem } from "./desired-objects.ts";
import { nextEvents } from "./events.ts";
import { Fates, messagesOf, stateOf, type ObjectFate } from "./object-fate.ts";
import { Records, type ObjectRecord } from "./records.ts";
import { samePlan } from "./same-plan.ts";
import type { NodeReport, ObjectReport } from "./report.ts";
import { DirectoryStore, isoSeconds } from "./store/directory-store.ts";
import { objectPath } from "./store/object-path.ts";
import { watchStore, type StoreHint } from "./store/watch-store.ts";

export type AgentDaemon = Pick<
  Daemon,
  "facts" | "onFacts" | "watchCgroups" | "setPlan" | "results" | "onChange" | "settled" | "counters"
> &
  BytecodeWatcher;

export interface AgentOptions {
  /** Directory of the objects; made when it is not there. */
  readonly store: string;
  /** Directory of the status records. */
  readonly stateDir: string;
  readonly daemon: AgentDaemon;
  readonly features: readonly Feature[];
  readonly kinds: readonly Kind[];
  readonly clock: Clock;
  /** One line for people, for what nobody asked for: a file that cannot be read, a bug that was survived. */
  readonly onNotice?: ((notice: string) => void) | undefined;
}

/** Turns what the store declares into the daemon's plan, and what became of it into status. */
export interface Agent extends AsyncDisposable {
  /** Every object with its status; counters are read now. */
  report(): Promise<NodeReport>;
  /** Reads the store now, and reports when the kernel has been brought to it as far as it goes. */
  sync(): Promise<NodeReport>;
}

/** Counters reach the stored status at most this often. */
const countersMs = 5000;
/** Several readers in a row share one reading. */
const freshMs = 100;
/** Files of one `apply` that come at once are one plan. */
const gatherMs = 2;

/** Resolves when the objects that are there now are planned for. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  await mkdir(options.store, { recursive: true, mode: 0o755 });
  const agent = new StoreAgent(options);
  await agent.start();
  return agent;
}

class StoreAgent implements Agent {
  readonly #options: AgentOptions;
  readonly #records: Records;
  readonly #store: DirectoryStore;
  readonly #desired: DesiredObjects;
  readonly #closing: (() => void)[] = [];
  readonly #passReasons: readonly string[];
  #hints: Set<string> | "anything" = "anything";
  #lowered: LoweredObjects = { intents: [], problems: [] };
  #plan: NodePlan = emptyPlan;
  #problems: readonly PlanProblem[] = [];
  #planned: NodeFacts | undefined;
  #counters: readonly InstanceCounters[] = [];
  #countedAt = -Infinity;
  #gathering: NodeJS.Timeout | undefined;
  #passes: Promise<void> = Promise.resolve();
  #saves: Promise<void> = Promise.resolve();
  #isSaveDue = false;
  #isClosed = false;
  readonly #told = new Set<string>();

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#records = new Records(options.stateDir);
    this.#store = new DirectoryStore({
      directory: options.store,
      clock: options.clock,
      findHeader: (ref) => this.#records.find(ref),
    });
    this.#desired = new DesiredObjects(options.kinds);
    this.#passReasons = options.features.flatMap((feature) => feature.passReasons);
  }

  async start(): Promise<void> {
    await this.#records.load();
    const { daemon, store } = this.#options;
    const watch = watchStore(store, (hint) => this.#onHint(hint));
    const counting = setInterval(() => void this.#count().then(() => this.#saveSoon()), countersMs);
    counting.unref();
    this.#closing.push(
      () => watch[Symbol.dispose](),
      () => clearInterval(counting),
      daemon.onFacts(() => this.#onHint(new Set())),
      daemon.onChange(() => this.#saveSoon()),
    );
    await watch.isReady;
    await this.#pass();
  }

  /** Looks at the store first: whoever has just written there finds it in the report. */
  async report(): Promise<NodeReport> {
    this.#hints = "anything";
    await this.#pass();
    return this.#report();
  }

  async #report(): Promise<NodeReport> {
    await this.#count();
    const { daemon, clock } = this.#options;
    const results = daemon.results();
    return {
      takenAt: isoSeconds(clock.now()),
      isPaused: results.isPaused,
      objects: this.#reports(),
      broken: this.#desired.broken(),
      trouble: results.trouble,
    };
  }

  async sync(): Promise<NodeReport> {
    this.#hints = "anything";
    await this.#pass();
    await this.#options.daemon.settled();
    return this.#report();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#gathering);
    for (const close of this.#closing) close();
    await this.#passes;
    await this.#saves;
  }

  #onHint(hint: StoreHint): void {
    if (hint === "anything" || this.#hints === "anything") this.#hints = "anything";
    else for (const path of hint) this.#hints.add(path);
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      void this.#pass();
    }, gatherMs);
  }

  /** One at a time; resolves when what was known at the call is planned. */
  #pass(): Promise<void> {
    this.#passes = this.#passes
      .then(() => this.#readAndPlan())
      .catch((error: unknown) => this.#tell(`read ${this.#options.store}: ${errorText(error)}`));
    return this.#passes;
  }

  async #readAndPlan(): Promise<void> {
    if (this.#isClosed) return;
    const hints = this.#hints;
    this.#hints = new Set();
    const isFirst = this.#planned === undefined;
    const isChanged = hints === "anything" ? await this.#store.refresh() : await this.#store.refreshFiles(hints);
    const facts = this.#options.daemon.facts();
    if (!isChanged && !isFirst && facts === this.#planned) return;
    if (isChanged) {
      this.#desired.update(this.#store.snapshot());
      for (const { issues } of this.#desired.broken())
        for (const { position, message } of issues)
          this.#tell(`${position?.file}:${position?.line}:${position?.column}: ${message}`);
    }
    this.#replan(facts, isChanged || isFirst);
    this.#saveSoon();
  }

  #replan(facts: NodeFacts, isAsked: boolean): void {
    const { daemon, features } = this.#options;
    if (isAsked || !sameNode(facts, this.#planned)) {
      const objects = this.#desired.sound();
      daemon.watchCgroups(cgroupsOf(objects.map(({ parsed }) => parsed.object)));
      this.#lowered = lowerObjects(objects, facts);
      daemon.watchBytecode?.(sourcesOf(this.#lowered.intents), pullSecretsOf(objects));
    }
    const { plan, problems } = planIntents(this.#lowered, features, facts);
    this.#planned = facts;
    this.#problems = [...problems, ...this.#issueProblems()];
    const isSame = !isAsked && samePlan(plan, this.#plan);
    this.#plan = plan;
    if (!isSame) daemon.setPlan(plan, { complete: this.#isComplete() });
  }

  /** Not while a file is unreadable that an earlier run served: nobody asked for its end. */
  #isComplete(): boolean {
    const unserved = new Set(this.#desired.unservedPaths().map((path) => relative(this.#options.store, path)));
    const held = this.#records.all().filter(({ ref }) => unserved.has(objectPath(ref, "yaml")));
    for (const { ref } of held)
      this.#tell(
        `${ref.kind} ${ref.name}: its file cannot be read, so nothing is removed from the kernel until it is corrected or removed`,
      );
    return held.length === 0;
  }

  #issueProblems(): readonly PlanProblem[] {
    const warnings = this.#desired
      .sound()
      .flatMap(({ parsed, issues }) => issues.map((issue) => issueProblem(parsed.ref, issue, false)));
    const spoilt = this.#desired
      .spoilt()
      .flatMap(({ good, issues }) => issues.map((issue) => issueProblem(good.parsed.ref, issue, true)));
    const refused = this.#desired
      .refused()
      .flatMap(({ stored, issues }) => issues.map((issue) => issueProblem(stored.ref, issue, false)));
    return [...warnings, ...spoilt, ...refused];
  }

  async #count(): Promise<void> {
    const { clock, daemon } = this.#options;
    if (this.#plan.instances.length === 0) this.#counters = [];
    else if (clock.monotonicMs() - this.#countedAt >= freshMs) {
      this.#countedAt = clock.monotonicMs();
      try {
        this.#counters = await daemon.counters();
      } catch (error) {
        this.#tell(`read counters: ${errorText(error)}`);
      }
    }
  }

  #reports(): readonly ObjectReport[] {
    const { daemon } = this.#options;
    const results = daemon.results();
    const fates = new Fates(this.#plan, this.#problems, results.items, this.#counters);
    const spoilt = new Set(this.#desired.spoilt().map(({ good }) => good));
    const reports = this.#desired.sound().map((accepted) => {
      const fate = fates.of(accepted.parsed.ref);
      const previous = this.#records.find(accepted.parsed.ref);
      const status = this.#status(() => accepted.kind.status(accepted.parsed, this.#outcome(fate, previous)), fate);
      const state = stateOf(fate, results.isSettled && results.trouble === undefined, results.isPaused);
      return this.#reportOf(
        accepted.parsed.ref,
        accepted.parsed.object,
        status,
        spoilt.has(accepted) ? "failed" : state,
        fate,
        previous,
      );
    });
    const refused = this.#desired.refused().map(({ stored }) => {
      const fate = fates.of(stored.ref);
      return this.#reportOf(
        stored.ref,
        stored.object,
        this.#refusal(fate),
        "failed",
        fate,
        this.#records.find(stored.ref),
      );
    });
    return [...reports, ...refused];
  }

  #outcome(fate: ObjectFate, previous: ObjectRecord | undefined): Parameters<Kind["status"]>[1] {
    const { daemon, clock } = this.#options;
    const facts = daemon.facts();
    const entryCount = fate.counters
      .map(({ gauges }) => gauges["map_entries"])
      .find((entries) => entries !== undefined);
    return {
      nodeName: facts.nodeName,
      problems: fate.problems,
      items: fate.items,
      plan: this.#plan,
      counters: fate.counters,
      passReasons: this.#passReasons,
      interfaces: facts.interfaces,
      isPaused: daemon.results().isPaused,
      entryCount: entryCount === undefined ? undefined : Number(entryCount),
      previousStatus: previous?.status,
      clock,
    };
  }

  #status(make: () => unknown, fate: ObjectFate): unknown {
    try {
      return make();
    } catch (error) {
      this.#tell(`tell status: ${errorText(error)}; report it with the object`);
      return this.#refusal(fate);
    }
  }

  /** The least that every status has, where the kind cannot say more. */
  #refusal(fate: ObjectFate): unknown {
    const [first] = fate.problems;
    const lastTransitionTime = isoSeconds(this.#options.clock.now());
    const message = messagesOf(fate)[0] ?? "";
    return {
      conditions: [
        {
          type: "Ready",
          status: "False",
          reason: first?.reason ?? errorCodes.internal.reason,
          message,
          lastTransitionTime,
        },
      ],
    };
  }

  #reportOf(
    ref: ObjectRef,
    object: KubeObject,
    status: unknown,
    state: ObjectReport["state"],
    fate: ObjectFate,
    previous: ObjectRecord | undefined,
  ): ObjectReport {
    const now = isoSeconds(this.#options.clock.now());
    const events = nextEvents(previous?.events ?? [], previous?.status, status, now);
    return { ref, object: { ...object, status }, state, messages: messagesOf(fate), events };
  }

  /** Status goes to disk when it changed; one writing at a time, the last state is always written. */
  #saveSoon(): void {
    if (this.#isSaveDue || this.#isClosed) return;
    this.#isSaveDue = true;
    this.#saves = this.#saves.then(async () => {
      this.#isSaveDue = false;
      try {
        await this.#save();
      } catch (error) {
        this.#tell(`write status below ${this.#options.stateDir}: ${errorText(error)}`);
      }
    });
  }

  /** Nothing is known yet of what is being tried just now: its end tells again. */
  async #save(): Promise<void> {
    if (!this.#options.daemon.results().isSettled) return;
    const specs = this.#desired.specs();
    for (const { ref, object, state, messages, events } of this.#reports()) {
      const { uid = "", creationTimestamp = "", generation = 1, resourceVersion = "1" } = object.metadata;
      const spec = specs.get(refKey(ref)) ?? "";
      await this.#records.save({
        ref,
        uid,
        creationTimestamp,
        generation,
        resourceVersion,
        spec,
        state,
        messages,
        status: object.status,
        events,
      });
    }
    await this.#records.keepOnly([...this.#desired.refs(), ...this.#heldRefs()]);
  }

  #heldRefs(): readonly ObjectRef[] {
    const unserved = new Set(this.#desired.unservedPaths().map((path) => relative(this.#options.store, path)));
    return this.#records.all().flatMap(({ ref }) => (unserved.has(objectPath(ref, "yaml")) ? [ref] : []));
  }

  /** Each thing once. */
  #tell(notice: string): void {
    if (this.#told.has(notice)) return;
    this.#told.add(notice);
    this.#options.onNotice?.(notice);
  }
}

function sameNode(a: NodeFacts, b: NodeFacts | undefined): boolean {
  return a.nodeName === b?.nodeName && canonicalJson(a.labels) === canonicalJson(b.labels);
}

function cgroupsOf(objects: readonly KubeObject[]): readonly string[] {
  const paths = objects.map((object) => object.metadata.annotations?.[cgroupAnnotation]);
  return [...new Set(paths.filter((path) => path !== undefined))].toSorted();
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
