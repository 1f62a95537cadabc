import type { Clock } from "@bpfleet/base";
import type { Feature } from "@bpfleet/features";
import type { NodePlan } from "@bpfleet/kernel";
import type { CounterReader } from "../counters.ts";
import type { DaemonResults } from "../daemon.ts";
import type { RuleHistory } from "./rule-history.ts";

/** Also where nobody asks for counters: to within so long the time of a rule's last packet is known. */
const lookMs = 10_000;
const saveMs = 60_000;

export interface RuleWatchOptions {
  readonly history: RuleHistory;
  readonly reader: CounterReader;
  readonly features: readonly Feature[];
  readonly plan: () => NodePlan;
  readonly clock: Clock;
  readonly onTrouble: (error: unknown) => void;
}

/** Looks at the counters of rules in time: now and then, and before they go. */
export class RuleWatch implements AsyncDisposable {
  readonly #options: RuleWatchOptions;
  readonly #remembering: ReadonlySet<string>;
  readonly #timer: NodeJS.Timeout;
  #savedMs: number;
  #reading: Promise<void> = Promise.resolve();
  #saving: Promise<void> = Promise.resolve();
  /** That it cannot be saved. */
  #isTold = false;

  constructor(options: RuleWatchOptions) {
    this.#options = options;
    this.#remembering = new Set(
      options.features.flatMap((each) => (each.rememberedRoles !== undefined ? [each.name] : [])),
    );
    this.#savedMs = options.clock.monotonicMs();
    this.#timer = setInterval(() => this.#look(), lookMs).unref();
  }

  /** Resolves when what leaves with the next plan was read: its maps may go from then on. */
  get isRead(): Promise<void> {
    return this.#reading;
  }

  /** To be called while `before` is still the plan. */
  planChanges(before: NodePlan, next: NodePlan): void {
    const stays = this.#idsOf(next);
    const leaving = [...this.#idsOf(before)].filter((id) => !stays.has(id));
    if (leaving.length === 0) return;
    this.#read(before);
    this.#options.history.leave(leaving);
  }

  changed({ isSettled, isPaused }: DaemonResults): void {
    const { history, plan, clock } = this.#options;
    if (!isSettled || isPaused || !history.isLeaving) return;
    if (history.areInForce(this.#idsOf(plan()), clock.now())) this.#save();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#read(this.#options.plan());
    await this.#reading;
    this.#save();
    await this.#saving;
  }

  #look(): void {
    const { plan, reader, clock } = this.#options;
    if (clock.monotonicMs() - reader.rulesReadMs > lookMs / 2) this.#read(plan());
    if (clock.monotonicMs() - this.#savedMs >= saveMs) this.#save();
  }

  #read(plan: NodePlan): void {
    const { reader, onTrouble } = this.#options;
    this.#reading = this.#reading.then(() => reader.readRemembered(plan)).catch(onTrouble);
  }

  #save(): void {
    const { history, clock, onTrouble } = this.#options;
    this.#savedMs = clock.monotonicMs();
    this.#saving = this.#saving.then(async () => {
      try {
        await history.save(clock.now());
        this.#isTold = false;
      } catch (error) {
        if (!this.#isTold) onTrouble(error);
        this.#isTold = true;
      }
    });
  }

  #idsOf({ instances }: NodePlan): ReadonlySet<string> {
    const ids = new Set<string>();
    for (const { feature, rules } of instances)
      if (this.#remembering.has(feature)) for (const { id } of rules) ids.add(id);
    return ids;
  }
}
