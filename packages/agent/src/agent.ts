import { mkdir } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import { errorText, refKey, renderTime, SaidLately, type ObjectRef } from "@bpfleet/base";
import { policy, policyScope, readOpening, type InstanceCounters, type PlanMemory } from "@bpfleet/features";
import { emptyPlan, type NodeFacts, type NodePlan, type PlanProblem } from "@bpfleet/kernel";
import type { AgentOptions, ObjectAgentOptions } from "./agent-options.ts";
import { lacksSecret, pullSecretsOf, secretsNamedBy, sourcesOf } from "./bytecode-sources.ts";
import { planIntents, type AcceptedObject } from "./compile.ts";
import { CounterReading } from "./counter-reading.ts";
import { DesiredObjects } from "./desired-objects.ts";
import { Gathering } from "./gathering.ts";
import { LastPlan } from "./last-plan.ts";
import { packetAt } from "./policy/dropped-packet.ts";
import { findSmallestEdit, type EditAdvice } from "./policy/smallest-edit.ts";
import { describePolicy, type PolicyState } from "./policy/policy-state.ts";
import { whoIsThere } from "./policy/who-is.ts";
import { Lowering, type LoweredObjects } from "./lowering.ts";
import { ReportMaker, type Planned } from "./report-maker.ts";
import { sameNode } from "./node-view.ts";
import { annotatedPods, type PodPlaces } from "./pod-cgroups.ts";
import { recordOfReport, Records, type ObjectRecord, type ObjectRecords } from "./records.ts";
import { samePlan } from "./same-plan.ts";
import type { NodeReport, ObjectReport } from "./report.ts";
import { StatusSaving, systemText } from "./status-saving.ts";
import { DirectorySource } from "./store/directory-source.ts";
import type { ObjectSource } from "./store/object-source.ts";
import type { StoreHint } from "./store/watch-store.ts";

export type { AgentDaemon, AgentOptions, AgentParts, ObjectAgentOptions, ToldReports } from "./agent-options.ts";

/** Turns what the store declares into the daemon's plan, and what became of it into status. */
export interface Agent extends AsyncDisposable {
  /** Every object with its status; counters are read now. */
  report(): Promise<NodeReport>;
  /** Reads the store now, and reports when the kernel has been brought to it as far as it goes. */
  sync(): Promise<NodeReport>;
  /** What is planned of policies, and who has which address. */
  policyState(): PolicyState;
  /** What would let a frame through that a pod's interface drops. */
  adviseEdit(request: EditRequest): Promise<EditAdvice>;
}

export interface EditRequest {
  /** The node's end of the pod's interface. */
  readonly interface: string;
  /** As the pod sees it. */
  readonly direction: "ingress" | "egress";
  readonly frame: Uint8Array;
  /** Whose address it was judged by, where that is told: a Service may stand between. */
  readonly peer?: string | undefined;
}

/** Counters reach the stored status at most this often. */
const countersMs = 5000;

/** Resolves when the objects that are there now are planned for. */
export async function startAgent({ store, stateDir, ...parts }: AgentOptions): Promise<Agent> {
  await mkdir(store, { recursive: true, mode: 0o755 });
  const records = new Records(stateDir);
  const findHeader = (ref: ObjectRef): ObjectRecord | undefined => records.find(ref);
  const source = new DirectorySource({ directory: store, clock: parts.clock, findHeader });
  return startObjectAgent({ ...parts, source, records });
}

/** The same over any source of objects. */
export async function startObjectAgent(options: ObjectAgentOptions): Promise<Agent> {
  const agent = new ObjectAgent(options);
  try {
    await agent.start();
    return agent;
  } catch (error) {
    await agent[Symbol.asyncDispose]();
    throw error;
  }
}

class ObjectAgent implements Agent {
  readonly #options: ObjectAgentOptions;
  readonly #records: ObjectRecords;
  readonly #source: ObjectSource;
  readonly #pods: PodPlaces;
  readonly #desired: DesiredObjects;
  readonly #closing: (() => void)[] = [];
  readonly #reports: ReportMaker;
  #hints: Set<string> | "anything" = "anything";
  readonly #lowering = new Lowering();
  #lowered: LoweredObjects = { intents: [], problems: [] };
  #objects: readonly AcceptedObject[] = [];
  #plan: NodePlan = emptyPlan;
  readonly #lastPlan = new LastPlan();
  readonly #memory: PlanMemory = new Map();
  #problems: readonly PlanProblem[] = [];
  #planned: NodeFacts | undefined;
  readonly #counters: CounterReading;
  /** Those of the last saving, if all of it succeeded. */
  #savedCounters: readonly InstanceCounters[] | undefined;
  /** What was made of them is on the disk. */
  readonly #saved = new WeakSet<ObjectReport>();
  readonly #gathering = new Gathering(() => this.#pass());
  #passes: Promise<void> = Promise.resolve();
  readonly #saving = new StatusSaving(
    () => this.#save(),
    (notice) => this.#tell(notice),
  );
  #isClosed = false;
  /** Before that nobody knows what is declared. */
  #isFollowing = false;
  /** What was read last has no results yet. */
  #isPlanning = false;
  #placed = "";
  readonly #told: SaidLately;

  constructor(options: ObjectAgentOptions) {
    this.#options = options;
    this.#records = options.records;
    this.#source = options.source;
    this.#pods = options.podPlaces ?? annotatedPods;
    this.#desired = new DesiredObjects(options.kinds);
    this.#told = new SaidLately(options.clock, { forMs: 3_600_000, most: 1000 });
    this.#counters = new CounterReading(options.clock, options.daemon, (notice) => this.#tell(notice));
    this.#reports = new ReportMaker({
      options,
      desired: this.#desired,
      records: this.#records,
      heldRefs: () => this.#heldRefs(),
      tell: (notice) => this.#tell(notice),
    });
  }

  async start(): Promise<void> {
    await this.#records.load();
    const { daemon } = this.#options;
    const counting = setInterval(
      () =>
        void this.#counters.read(this.#plan).then(() => {
          if (this.#counters.last !== this.#savedCounters) this.#saving.soon();
        }),
      countersMs,
    );
    counting.unref();
    this.#closing.push(
      () => clearInterval(counting),
      daemon.onFacts(() => this.#onHint(new Set())),
      daemon.onChange(() => this.#saving.soon()),
    );
    const follow = await this.#source.follow((hint) => this.#onHint(hint));
    this.#closing.push(() => follow[Symbol.dispose]());
    this.#isFollowing = true;
    await this.#pass();
  }

  /** Looks at the store first: whoever has just written there finds it in the report. */
  async report(): Promise<NodeReport> {
    await this.#gathering.running;
    this.#hints = "anything";
    await this.#pass();
    return this.#report();
  }

  async #report(): Promise<NodeReport> {
    await this.#counters.read(this.#plan);
    const { daemon, clock } = this.#options;
    const results = daemon.results();
    const objects = this.#reports.make(this.#presently());
    // What is told is stored, so that no version is given twice after a restart.
    const made = objects.filter(({ madeFrom }) => madeFrom !== undefined);
    if (results.isSettled && made.length > 0) {
      if (made.some((report) => !this.#isStored(report))) this.#saving.soon();
      await this.#saving.done;
    }
    return {
      takenAt: renderTime(clock.now()),
      isPaused: results.isPaused,
      objects,
      broken: this.#desired.broken(),
      trouble: results.trouble,
    };
  }

  #isStored({ ref, object: { metadata } }: ObjectReport): boolean {
    return this.#records.find(ref)?.resourceVersion === metadata.resourceVersion;
  }

  async sync(): Promise<NodeReport> {
    const { daemon } = this.#options;
    // What is told by name is in force before all files are looked at.
    await this.#gathering.running;
    await daemon.settled();
    this.#hints = "anything";
    await this.#pass();
    await daemon.settled();
    return this.#report();
  }

  policyState(): PolicyState {
    return describePolicy(this.#plan, this.#lowered.intents, this.#options.daemon.facts());
  }

  async adviseEdit({ interface: name, direction, frame, peer }: EditRequest): Promise<EditAdvice> {
    const facts = this.#lastPlan.addTo(this.#options.daemon.facts());
    const at = facts.interfaces.find((each) => each.name === name);
    const opening = readOpening(frame, "ethernet");
    if (at === undefined || opening === undefined)
      return { found: false, why: at === undefined ? `there is no interface ${name}` : "it carries no IP" };
    const { intents } = this.#lowered;
    const declared = this.#objects;
    const closing = this.#desired.closing();
    const lower = (objects: readonly AcceptedObject[]): LoweredObjects["intents"] =>
      objects === declared ? intents : [...this.#lowering.lower(objects, facts).intents, ...closing];
    const packet = { ifindex: at.ifindex, direction, opening, judgedPeer: peer };
    const search = findSmallestEdit(packetAt(packet, this.policyState().data?.endpoints), {
      objects: declared,
      kinds: this.#options.kinds,
      facts,
      memory: new Map(),
      who: whoIsThere(intents, facts),
      lower,
    });
    for (;;) {
      const { done, value } = search.next();
      if (done === true) return value;
      // What is declared meanwhile does not wait for its end.
      await nextTurn();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#saving.close();
    this.#gathering[Symbol.dispose]();
    for (const close of this.#closing) close();
    await this.#passes;
    await this.#saving.done;
  }

  #onHint(hint: StoreHint): void {
    if (hint === "anything" || this.#hints === "anything") this.#hints = "anything";
    else for (const path of hint) this.#hints.add(path);
    this.#gathering.hint();
  }

  /** One at a time; resolves when what was known at the call is planned. */
  #pass(): Promise<void> {
    this.#passes = this.#passes
      .then(() => this.#readAndPlan())
      .catch((error: unknown) => {
        // What was told of is looked at again, with all else.
        this.#hints = "anything";
        this.#tell(`read ${this.#source.place}: ${errorText(error)}`);
      });
    return this.#passes;
  }

  async #readAndPlan(): Promise<void> {
    if (this.#isClosed || !this.#isFollowing) return;
    const hints = this.#hints;
    this.#hints = new Set();
    const isFirst = this.#planned === undefined;
    const isChanged = await this.#source.refresh(hints);
    const facts = this.#options.daemon.facts();
    if (!isChanged && !isFirst && facts === this.#planned) return;
    if (isChanged) {
      this.#desired.update(this.#source.snapshot());
      for (const { issues } of this.#desired.broken())
        for (const { position, message } of issues)
          this.#tell(`${position?.file}:${position?.line}:${position?.column}: ${message}`);
    }
    this.#isPlanning = true;
    try {
      await this.#replan(facts, isChanged || isFirst);
    } finally {
      this.#isPlanning = false;
    }
    this.#saving.soon();
  }

  async #replan(known: NodeFacts, isAsked: boolean): Promise<void> {
    const { daemon, features } = this.#options;
    let facts = known;
    if (isAsked || !sameNode(facts, this.#planned) || this.#pods.fingerprint(facts) !== this.#placed) {
      await this.#lower();
      // What was not watched before is part of the facts only now: no plan is to be without it.
      facts = daemon.facts();
    }
    this.#source.awaitSecrets?.(lacksSecret(sourcesOf(this.#lowered.intents), facts.bytecode));
    const compile = (whole: NodeFacts) => planIntents(this.#lowered, features, whole, this.#memory);
    const { plan, problems } = await this.#lastPlan.plan(facts, compile, daemon);
    this.#planned = facts;
    this.#problems = [...problems, ...this.#desired.problems()];
    const isSame = !isAsked && samePlan(plan, this.#plan);
    if (!isSame) {
      this.#plan = plan;
      daemon.setPlan(plan, { complete: this.#isComplete() });
      return;
    }
    // What was compared is held for the daemon as it was sent: not twice.
    const { maps, programs, hooks } = this.#plan;
    this.#plan = { ...plan, maps, programs, hooks };
    this.#lastPlan.becomes(this.#plan);
  }

  async #lower(): Promise<void> {
    const { daemon } = this.#options;
    await daemon.watchCgroups(this.#pods.candidates(this.#desired.sound()));
    const lower = (): readonly AcceptedObject[] => {
      const facts = daemon.facts();
      this.#placed = this.#pods.fingerprint(facts);
      const objects = this.#pods.place(this.#desired.sound(), facts);
      this.#objects = objects;
      const { intents, problems } = this.#lowering.lower(objects, facts);
      this.#lowered = { intents: [...intents, ...this.#desired.closing()], problems };
      return objects;
    };
    let objects = lower();
    const sources = sourcesOf(this.#lowered.intents);
    if ((await this.#source.fetchSecrets?.(secretsNamedBy(sources))) === true) {
      this.#desired.update(this.#source.snapshot());
      objects = lower();
    }
    // Where pods are is asked only while something is to be judged there.
    const isPolicyAsked = this.#lowered.intents.some(({ feature, isFact }) => feature === policy.name && !isFact);
    await Promise.all([
      daemon.watchBytecode(sourcesOf(this.#lowered.intents), pullSecretsOf(objects)),
      isPolicyAsked ? this.#watchEndpoints() : daemon.watchEndpoints([], []),
    ]);
  }

  /** With whom policies select: those do not start before. */
  async #watchEndpoints(): Promise<void> {
    const { daemon } = this.#options;
    const { selected, reach } = policyScope(this.#lowered.intents);
    const wishes = this.#pods.endpoints(this.#desired.sound(), daemon.facts().nodeName);
    await daemon.watchEndpoints(
      wishes.map((wish) => ({ ...wish, isSelected: selected.has(wish.key) })),
      reach,
    );
  }

  /** Not while a file is unreadable that an earlier run served: nobody asked for its end. */
  #isComplete(): boolean {
    const held = this.#heldRefs();
    for (const ref of held)
      this.#tell(
        `${ref.kind} ${ref.name}: it cannot be read, so nothing is removed from the kernel until it is corrected or removed`,
      );
    return held.length === 0;
  }

  /** Nothing is known yet of what is being tried just now: its end tells again. */
  async #save(): Promise<void> {
    const results = this.#options.daemon.results();
    if (!results.isSettled || this.#planned === undefined || this.#isPlanning) return;
    const { keeps = () => true } = this.#options;
    const specs = this.#desired.specs(keeps);
    const { last: counters } = this.#counters;
    this.#savedCounters = undefined;
    const reports = this.#reports.make(this.#presently(), keeps);
    let failure = "";
    for (const report of reports) {
      if (this.#saved.has(report)) continue;
      const record = recordOfReport(report, specs.get(refKey(report.ref)) ?? "");
      await this.#records.save(record).then(
        () => this.#saved.add(report),
        (error: unknown) => (failure = systemText(error)),
      );
    }
    const held = this.#heldRefs();
    this.#reports.keepOnly(reports);
    await this.#records.keepOnly([...reports.map(({ ref }) => ref), ...held, ...this.#records.madeFrom(held)]);
    this.#options.onReports?.({ reports, results, plan: this.#plan });
    if (failure === "") this.#savedCounters = counters;
    else this.#tell(`keep status: ${failure}`);
  }

  #presently(): Planned {
    return { plan: this.#plan, problems: this.#problems, counters: this.#counters.last };
  }

  #heldRefs(): readonly ObjectRef[] {
    const unserved = new Set(this.#desired.unservedPaths());
    const isHeld = (ref: ObjectRef): boolean =>
      unserved.has(this.#source.pathOf(ref)) && (this.#records.wasServed?.(ref) ?? true);
    return this.#records.all().flatMap(({ ref }) => (isHeld(ref) ? [ref] : []));
  }

  /** Each thing once an hour. */
  #tell(notice: string): void {
    if (this.#told.isNews(notice)) this.#options.onNotice?.(notice);
  }
}
