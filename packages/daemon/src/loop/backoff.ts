import type { ErrorCode } from "@bpfleet/base";
import { sameIdentity, type Action, type ActionOutcome, type ItemError } from "@bpfleet/kernel";

export interface BackoffOptions {
  /** Wait after the first failure; doubles with each further one. */
  readonly firstMs: number;
  readonly longestMs: number;
}

/** Of the bytes that were given, which are part of the action: the same action fails the same way. */
const lasting: ReadonlySet<ErrorCode> = new Set(["verifier", "no-btf", "not-elf"]);

interface Failure {
  readonly error: ItemError;
  readonly count: number;
  /** On the monotonic clock; Infinity: not before something changes. */
  readonly dueMs: number;
  readonly action: Action;
}

/** When each failed action is to be tried again. */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = new Map<string, Failure>();

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** What the action failed with, as long as it is too early to try it again. */
  hold(action: Action, nowMs: number): ItemError | undefined {
    const failure = this.#failureOf(action);
    return failure !== undefined && failure.dueMs > nowMs ? failure.error : undefined;
  }

  /** The last time that it was tried. */
  hasFailed(action: Action): boolean {
    return this.#failureOf(action) !== undefined;
  }

  /**
   * Takes over the outcomes of one attempt; actions that are no longer wanted are forgotten. Gives back those that were
   * tried and failed.
   */
  learn(outcomes: readonly ActionOutcome[], nowMs: number): readonly ActionOutcome[] {
    const failures = new Map<string, Failure>();
    const tried: ActionOutcome[] = [];
    for (const outcome of outcomes) {
      const { action, state, error } = outcome;
      if (state !== "failed" || error === undefined) continue;
      const before = this.#failureOf(action);
      if (before !== undefined && before.dueMs > nowMs) {
        failures.set(action.id, before);
        continue;
      }
      tried.push(outcome);
      const count = (before?.count ?? 0) + 1;
      failures.set(action.id, { action, error, count, dueMs: nowMs + this.#waitMs(error, count) });
    }
    this.#failures = failures;
    return tried;
  }

  /** The world changed for these: they are tried at once. */
  release(isAffected: (action: Action) => boolean): void {
    for (const [id, failure] of this.#failures) {
      if (isAffected(failure.action)) this.#failures.set(id, { ...failure, count: 0, dueMs: 0 });
    }
  }

  /** When the next one is due; Infinity when none is. */
  nextDueMs(): number {
    return Math.min(Infinity, ...[...this.#failures.values()].map((failure) => failure.dueMs));
  }

  /** Other programs on the same hook, or another map in the same slot, may fare better. */
  #failureOf(action: Action): Failure | undefined {
    const failure = this.#failures.get(action.id);
    return failure !== undefined && isOther(action, failure.action) ? undefined : failure;
  }

  #waitMs(error: ItemError, count: number): number {
    const { firstMs, longestMs } = this.#options;
    if (error.retry === "never" || lasting.has(error.code)) return Infinity;
    // What we are not told of (a foreign program leaves the hook) is looked at now and then all the same.
    if (error.retry === "when-changed") return longestMs;
    return Math.min(longestMs, firstMs * 2 ** (count - 1));
  }
}

function isOther(action: Action, failed: Action): boolean {
  if (action.do === "set-hook") return failed.do === "set-hook" && action.generation !== failed.generation;
  return action.do === "put-reference" && failed.do === "put-reference" && !sameIdentity(action.map, failed.map);
}
