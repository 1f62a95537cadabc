import { isDeepStrictEqual } from "node:util";
import { errorText, KernelError, tellEach, type Clock } from "@bpfleet/base";
import {
  applyActions,
  diffPlan,
  emptyPlan,
  isRemoval,
  journalAfter,
  journalBefore,
  observePlan,
  type Action,
  type ActionOutcome,
  type DiffOptions,
  type ItemResult,
  type Journal,
  type KernelPort,
  type NodePlan,
  type ObservedKernel,
} from "@bpfleet/kernel";
import type { Logger } from "pino";
import type { DaemonResults, Healed } from "../daemon.ts";
import type { NodeState, Remembered } from "../state/node-state.ts";
import { Backoff, type BackoffOptions } from "./backoff.ts";
import { Keeping } from "./keeping.ts";
import { healedBy, itemsInForce, wishesOf, type InForce } from "./healing.ts";
import { leftoversOf, pausedHooks, unwanted } from "./leftovers.ts";
import { isAt, SeenHooks } from "./seen-hooks.ts";
import { Sayings } from "./sayings.ts";
import { Signal } from "./signal.ts";

export interface LoopOptions {
  readonly kernel: KernelPort;
  readonly state: Pick<NodeState, "savePlan" | "passOver" | "saveJournal" | "savePaused">;
  readonly remembered: Remembered;
  /** What this kernel offers, asked at each pass. */
  readonly modes: () => DiffOptions & { readonly legacyTc: boolean };
  readonly clock: Clock;
  readonly log: Logger;
  /** Between two looks at the kernel when nothing happens. */
  readonly driftMs: number;
  readonly backoff?: BackoffOptions | undefined;
  /** A changed plan is in force, so many milliseconds after it came. */
  readonly onInForce?: ((ms: number) => void) | undefined;
  /** These were tried and failed; what waits for its next attempt is not among them. */
  readonly onFailed?: ((plan: NodePlan, failures: readonly ActionOutcome[]) => void) | undefined;
}

/** The plan to keep true. */
interface Wanted {
  readonly plan: NodePlan;
  /** Nothing else is to be there. */
  readonly isComplete: boolean;
  readonly revision: number;
  readonly sinceMs: number;
  readonly isReady?: Promise<void> | undefined;
}

const healedKept = 100;

/**
 * Keeps the kernel at the plan. Level-triggered: whatever woke it, it observes, compares and acts on the
 * difference, one pass at a time; wishes that come meanwhile are one further pass. It alone changes the
 * kernel, logs, and decides when to try again.
 */
export class WorkLoop {
  readonly #options: LoopOptions;
  readonly #signal = new Signal();
  readonly #backoffOptions: BackoffOptions;
  readonly #backoff: Backoff;
  readonly #listeners = new Set<(results: DaemonResults) => void>();
  #waiters: (() => void)[] = [];
  #wanted: Wanted | undefined;
  #isPaused: boolean;
  #journal: Journal;
  #results: DaemonResults;
  #healed: readonly Healed[] = [];
  /** After the last pass: what changes on these while nothing else is wanted, others did. */
  #inForce: InForce = new Map();
  /** The wish that was tried last. */
  #triedFor = "";
  #observeFailures = 0;
  readonly #hooks: SeenHooks;
  readonly #sayings: Sayings;
  readonly #keeping: Keeping;
  #isStopped = false;
  #ended: Promise<void> | undefined;

  constructor(options: LoopOptions) {
    const { remembered, clock } = options;
    this.#options = options;
    this.#hooks = new SeenHooks(options.driftMs);
    this.#sayings = new Sayings(options.log);
    this.#backoffOptions = options.backoff ?? { firstMs: 100, longestMs: 30_000 };
    this.#backoff = new Backoff(this.#backoffOptions);
    this.#keeping = new Keeping(options.state, this.#sayings, clock, this.#backoffOptions, remembered.ahead);
    this.#isPaused = remembered.isPaused;
    this.#journal = remembered.journal;
    if (remembered.plan !== undefined) {
      this.#wanted = { plan: remembered.plan, isComplete: false, revision: 0, sinceMs: clock.monotonicMs() };
    }
    this.#results = {
      revision: 0,
      isComplete: false,
      isSettled: false,
      isPaused: this.#isPaused,
      items: [],
      healed: [],
      applyMs: undefined,
      trouble: undefined,
      notKept: remembered.ahead,
    };
  }

  start(): void {
    const { log, remembered } = this.#options;
    for (const why of remembered.unusable) log.warn({ why }, "state set aside");
    if (remembered.plan !== undefined) log.info({ ...sizes(remembered.plan) }, "last plan found");
    if (remembered.ahead !== undefined) log.warn({ why: remembered.ahead }, "last plan left aside");
    if (this.#isPaused) log.warn("paused since before the start");
    this.#signal.raise();
    this.#ended = this.#run();
  }

  /** The plan that is to be in force, whether it is or not. */
  plan(): NodePlan {
    return this.#wanted?.plan ?? emptyPlan;
  }

  results(): DaemonResults {
    return this.#results;
  }

  onChange(listener: (results: DaemonResults) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The revision under which the results tell of it. Nothing is done before `isReady`, which never fails. */
  setPlan(plan: NodePlan, isComplete: boolean, isReady?: Promise<void>): number {
    if (this.#isStopped) throw new TypeError("set a plan: the daemon has stopped");
    const revision = (this.#wanted?.revision ?? 0) + 1;
    this.#wanted = { plan, isComplete, revision, isReady, sinceMs: this.#options.clock.monotonicMs() };
    this.#unsettle();
    this.#signal.raise();
    return revision;
  }

  /** These interfaces or cgroups came, went or changed. */
  placesChanged(places: ReadonlySet<string>): void {
    this.#hooks.placesChanged();
    this.#backoff.release((action) => "spec" in action && "point" in action.spec && isAt(action.spec.point, places));
    if (this.plan().hooks.some((hook) => isAt(hook.point, places))) this.#signal.raise();
  }

  /** Resolves when the present wish was tried as a whole. */
  async settled(): Promise<DaemonResults> {
    while (!this.#results.isSettled && !this.#isStopped)
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.#results;
  }

  /** Detaches everything. Throws what stands in the way; the wish stays and is tried again. */
  async pause(): Promise<void> {
    await this.#setPaused(true);
  }

  async resume(): Promise<void> {
    await this.#setPaused(false);
  }

  /** Ends after the action at hand. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#signal.raise();
    await this.#ended;
    this.#wakeWaiters();
  }

  async #setPaused(isPaused: boolean): Promise<void> {
    await this.#options.state.savePaused(isPaused);
    if (this.#isPaused !== isPaused) this.#options.log.warn(isPaused ? "paused: everything is detached" : "resumed");
    this.#isPaused = isPaused;
    this.#backoff.release(() => true);
    this.#unsettle();
    this.#signal.raise();
    const { trouble } = await this.settled();
    if (trouble !== undefined)
      throw new KernelError(trouble, { code: "internal", call: isPaused ? "pause" : "resume", retry: "backoff" });
  }

  async #run(): Promise<void> {
    while (true) {
      const now = this.#options.clock.monotonicMs();
      const blindMs =
        this.#observeFailures === 0 ? Infinity : this.#backoffOptions.firstMs * 2 ** (this.#observeFailures - 1);
      const dueMs = Math.min(this.#backoff.nextDueMs(), this.#keeping.nextDueMs);
      await this.#signal.wait(Math.min(this.#hooks.leftMs(now), dueMs - now, blindMs));
      if (this.#isStopped) return;
      await this.#pass();
    }
  }

  async #pass(): Promise<void> {
    const wanted = this.#wanted;
    const isPaused = this.#isPaused;
    const plan = wanted?.plan ?? emptyPlan;
    const target = isPaused ? { ...plan, hooks: [] } : plan;
    const seen = this.#hooks.take(this.#options.clock.monotonicMs());
    const observing = observePlan(this.#options.kernel, target, seen.known);
    let remembering: Promise<unknown> | undefined;
    // Before anything changes, so that a restart does not turn back to an older plan.
    const remember = (): Promise<unknown> =>
      (remembering ??= Promise.all([this.#keeping.plan(wanted), wanted?.isReady]));
    try {
      const observed = await observing;
      const actions = this.#allowed(
        diffPlan(target, observed, this.#journal, this.#options.modes()),
        wanted?.isComplete ?? false,
        isPaused,
      );
      this.#sayings.areAll(actions);
      const outcomes = await this.#apply(
        actions.filter((action) => action.do !== "inline-hook"),
        target,
        observed,
        remember,
      );
      await remember();
      await this.#keeping.journalAgain();
      seen.keep(observed.hooks, actions);
      this.#publish(wanted, isPaused, plan, outcomes.results, outcomes.outcomes);
      this.#observeFailures = 0;
      const short = outcomes.outcomes.filter(({ without }) => without !== undefined).map(({ action }) => action.id);
      for (const action of actions)
        if (action.do === "inline-hook" && !short.some((id) => action.needs.includes(id)))
          await this.#inline(action, target, observed);
      if (!this.#signal.isRaised && !this.#isStopped) await this.#hooks.lookAtTouched(this.#options.kernel);
    } catch (error) {
      await remember();
      await this.#keeping.journalAgain();
      this.#lament(wanted, isPaused, error);
    }
  }

  /** Without a complete plan nobody knows what may go; the emergency switch detaches all the same. */
  #allowed(actions: readonly Action[], isComplete: boolean, isPaused: boolean): readonly Action[] {
    if (isComplete) return actions;
    return actions.filter((action) => !isRemoval(action) || (isPaused && action.do === "clear-hook"));
  }

  async #apply(
    actions: readonly Action[],
    plan: NodePlan,
    observed: ObservedKernel,
    beforeChanges: () => Promise<unknown>,
  ): ReturnType<typeof applyActions> {
    if (actions.length > 0) await this.#keepJournal(journalBefore(this.#journal, plan));
    const now = this.#options.clock.monotonicMs();
    const applied = await applyActions(actions, this.#options.kernel, {
      plan,
      observed,
      journal: this.#journal,
      beforeChanges,
      legacyTc: this.#options.modes().legacyTc,
      hold: (action) =>
        this.#isStopped ? { code: "stale", message: "the daemon is stopping" } : this.#backoff.hold(action, now),
      hasFailed: (action) => this.#backoff.hasFailed(action),
      onAction: (outcome) => this.#report(outcome),
    });
    const failures = this.#backoff.learn(applied.outcomes, now);
    if (failures.length > 0 && !this.#isStopped) this.#tell([this.#options.onFailed], plan, failures);
    if (actions.length > 0) await this.#keepJournal(journalAfter(this.#journal, plan, applied.results));
    return applied;
  }

  /** Verifying a long chain in one piece takes seconds: nothing waits for it, and a new wish comes first. */
  async #inline(
    action: Extract<Action, { do: "inline-hook" }>,
    plan: NodePlan,
    observed: ObservedKernel,
  ): Promise<void> {
    const isThisHook = (item: ItemResult) => item.item === "hook" && item.key === action.spec.key;
    if (this.#signal.isRaised || !this.#results.items.some((item) => isThisHook(item) && item.state === "in-force"))
      return;
    const { outcomes, refusedInline } = await applyActions([{ ...action, needs: [] }], this.#options.kernel, {
      plan,
      observed,
      journal: this.#journal,
      legacyTc: this.#options.modes().legacyTc,
      onAction: (outcome) => this.#report(outcome),
    });
    const { hook, error } = outcomes[0] ?? {};
    const reason = hook?.reason ?? (refusedInline.length > 0 ? error?.message : undefined);
    if (reason !== undefined) {
      await this.#keepJournal({
        ...this.#journal,
        refusedInline: [...new Set([...this.#journal.refusedInline, ...refusedInline])],
        reasons: { ...this.#journal.reasons, [action.spec.key]: reason },
      });
    }
    if (hook !== undefined)
      this.#change({ items: this.#results.items.map((item) => (isThisHook(item) ? { ...item, hook } : item)) });
  }

  async #keepJournal(journal: Journal): Promise<void> {
    this.#journal = journal;
    await this.#keeping.journal(journal);
  }

  #publish(
    wanted: Wanted | undefined,
    isPaused: boolean,
    plan: NodePlan,
    results: readonly ItemResult[],
    outcomes: readonly ActionOutcome[],
  ): void {
    const { clock, log, onInForce } = this.#options;
    const wish = `${wanted?.revision} ${wanted?.isComplete} ${isPaused}`;
    const isFirst = this.#triedFor !== wish;
    const wishes = wishesOf(plan);
    const healed = outcomes
      .map((outcome) => healedBy(outcome, this.#inForce, wishes, clock.now()))
      .filter((each) => each !== undefined);
    for (const { item, key, what } of healed) log.warn({ item, key, what }, "healed");
    this.#healed = [...this.#healed, ...healed].slice(-healedKept);
    const items = isPaused ? [...results, ...pausedHooks(plan)] : results;
    this.#inForce = itemsInForce(items, wishes, outcomes);
    this.#triedFor = wish;
    const reached = outcomes.some((outcome) => outcome.state === "done" && outcome.isIdle !== true);
    const applyMs = isFirst && reached && wanted !== undefined ? clock.monotonicMs() - wanted.sinceMs : undefined;
    if (applyMs !== undefined) this.#tell([onInForce], applyMs);
    const stuck = outcomes.find((outcome) => outcome.state === "failed" && isRemoval(outcome.action));
    this.#sayings.works("observe");
    this.#keeping.tell();
    this.#change({
      revision: wanted?.revision ?? 0,
      isComplete: wanted?.isComplete ?? false,
      isPaused,
      isSettled: wanted === this.#wanted && isPaused === this.#isPaused,
      items,
      leftovers: leftoversOf(plan, outcomes),
      healed: this.#healed,
      applyMs: applyMs ?? this.#results.applyMs,
      trouble: stuck?.error?.message,
      notKept: this.#keeping.trouble,
    });
  }

  /** Not even looking at the kernel worked. */
  #lament(wanted: Wanted | undefined, isPaused: boolean, error: unknown): void {
    this.#observeFailures++;
    const message = errorText(error);
    const items = this.#results.items.map((item) => ({
      ...item,
      state: "failed" as const,
      error: { code: "internal" as const, message },
    }));
    this.#sayings.failed("observe", error);
    this.#keeping.tell();
    this.#change({
      revision: wanted?.revision ?? 0,
      isPaused,
      isSettled: wanted === this.#wanted && isPaused === this.#isPaused,
      items,
      leftovers:
        wanted?.isComplete === true
          ? unwanted(wanted.plan, [...items, ...(this.#results.leftovers ?? [])])
          : this.#results.leftovers,
      trouble: message,
      notKept: this.#keeping.trouble,
    });
  }

  #unsettle(): void {
    this.#results = { ...this.#results, isSettled: false };
  }

  #change(change: Partial<DaemonResults>): void {
    const before = this.#results;
    this.#results = { ...before, ...change };
    if (this.#results.isSettled) this.#wakeWaiters();
    if (isDeepStrictEqual(before, this.#results)) return;
    this.#tell(this.#listeners, this.#results);
  }

  /** Whoever throws ends no pass. */
  #tell<Told extends readonly unknown[]>(whom: Iterable<((...told: Told) => void) | undefined>, ...told: Told): void {
    const listeners = [...whom].filter((listener) => listener !== undefined);
    tellEach(listeners, (error) => this.#options.log.error({ why: errorText(error) }, "results not taken in"), ...told);
  }

  #wakeWaiters(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  #report(outcome: ActionOutcome): void {
    if (outcome.state !== "failed" || !this.#isStopped) this.#sayings.action(outcome);
  }
}

function sizes(plan: NodePlan): Record<string, number> {
  return { maps: plan.maps.length, programs: plan.programs.length, hooks: plan.hooks.length };
}
