import { errorText, type Clock } from "@bpfleet/base";
import type { Journal, NodePlan } from "@bpfleet/kernel";
import type { NodeState } from "../state/node-state.ts";
import type { BackoffOptions } from "./backoff.ts";
import type { Sayings } from "./sayings.ts";

interface WantedPlan {
  readonly plan: NodePlan;
  readonly isComplete: boolean;
  /** 0: it was kept before the start. */
  readonly revision: number;
}

interface Failure<T> {
  readonly what: T;
  readonly why: string;
  readonly count: number;
  readonly dueMs: number;
}

const keeping = "keep on the disk what is in force";

/**
 * What the next start is to know goes to the disk before the kernel changes. Where the disk does not take it the kernel
 * changes all the same: a denial is not to wait for room. It is tried again, later and later, and at once with what is new.
 */
export class Keeping {
  readonly #state: Pick<NodeState, "savePlan" | "passOver" | "saveJournal">;
  readonly #sayings: Sayings;
  readonly #clock: Clock;
  readonly #backoff: BackoffOptions;
  #plan: Failure<NodePlan> | undefined;
  #journal: Failure<Journal> | undefined;
  #ahead: string | undefined;
  #isTold = false;

  /** `ahead`: why the disk is behind the kernel from before the start. */
  constructor(
    state: Pick<NodeState, "savePlan" | "passOver" | "saveJournal">,
    sayings: Sayings,
    clock: Clock,
    backoff: BackoffOptions,
    ahead: string | undefined,
  ) {
    this.#state = state;
    this.#sayings = sayings;
    this.#clock = clock;
    this.#backoff = backoff;
    this.#ahead = ahead;
  }

  /** Why what is in force is not on the disk. */
  get trouble(): string | undefined {
    return this.#plan?.why ?? this.#journal?.why ?? this.#ahead;
  }

  /** When something is to be tried again; Infinity when nothing is. */
  get nextDueMs(): number {
    return Math.min(this.#plan?.dueMs ?? Infinity, this.#journal?.dueMs ?? Infinity);
  }

  /** One that is not complete is not kept, and nobody goes back to the one before while it is in force. */
  async plan(wanted: WantedPlan | undefined): Promise<void> {
    if (wanted?.isComplete === true) {
      this.#plan = await this.#try(wanted.plan, this.#plan, () => this.#savePlan(wanted.plan));
      if (this.#plan === undefined) this.#ahead = undefined;
    } else if (wanted !== undefined && wanted.revision > 0) {
      this.#plan = undefined;
      this.#passOver();
    }
  }

  async journal(journal: Journal): Promise<void> {
    this.#journal = await this.#try(journal, this.#journal, () => this.#state.saveJournal(journal));
  }

  async journalAgain(): Promise<void> {
    if (this.#journal !== undefined) await this.journal(this.#journal.what);
  }

  /** Once, whatever else does not find room until there is some. */
  tell(): void {
    const why = this.#plan?.why ?? this.#journal?.why;
    if (why === undefined) this.#sayings.works(keeping);
    else if (!this.#isTold) this.#sayings.failed(keeping, why);
    this.#isTold = why !== undefined;
  }

  async #savePlan(plan: NodePlan): Promise<void> {
    const { durable } = await this.#state.savePlan(plan);
    durable.catch((error: unknown) => this.#sayings.failed(keeping, error));
  }

  #passOver(): void {
    try {
      this.#state.passOver();
    } catch (error) {
      this.#sayings.failed(keeping, error);
    }
  }

  async #try<T>(what: T, before: Failure<T> | undefined, save: () => Promise<void>): Promise<Failure<T> | undefined> {
    const again = before?.what === what ? before : undefined;
    if (again !== undefined && this.#clock.monotonicMs() < again.dueMs) return again;
    try {
      await save();
      return undefined;
    } catch (error) {
      const { firstMs, longestMs } = this.#backoff;
      const count = (again?.count ?? 0) + 1;
      const dueMs = this.#clock.monotonicMs() + Math.min(longestMs, firstMs * 2 ** (count - 1));
      return { what, why: errorText(error), count, dueMs };
    }
  }
}
