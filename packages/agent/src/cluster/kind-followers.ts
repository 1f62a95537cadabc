import { errorText } from "@bpfleet/base";
import { collectionOf, type DefinedKind } from "@bpfleet/kinds";
import { isApiError, type AnyObject } from "@bpfleet/kube";
import { systemTiming, type KubeClient, type Timing } from "@bpfleet/kube-client";
import type { FollowedCollection } from "./followed-collection.ts";
import { IndexWatch } from "./index-watch.ts";

export interface KindFollowersOptions {
  readonly client: KubeClient;
  readonly kinds: readonly DefinedKind[];
  readonly timing?: Timing | undefined;
  readonly onNotice: (notice: string) => void;
  /** Makes what follows a kind. */
  readonly follow: (kind: DefinedKind, how: FollowHow) => FollowedCollection;
  /** At least so long between two looks at a kind that nobody says to have objects. */
  readonly lookMs?: number | undefined;
}

export interface FollowHow {
  /** After the first plan. */
  readonly isLate: boolean;
  /** Between two tries while the server does not know the kind. */
  readonly longestUnknownWaitMs: number;
}

interface KindState {
  readonly kind: DefinedKind;
  followed?: FollowedCollection | undefined;
  /** Resolves when it is known whether there are objects. */
  looked?: Promise<void> | undefined;
}

/** The whole fleet looks at a kind so often at most. */
const looksPerSecond = 17;
const shortestLookMs = 60_000;
const [firstWaitMs, longestWaitMs] = [500, 30_000];
/** Of a kind that the index names there are objects: the server at hand has not heard of it yet, or it is gone again. */
const [namedWaitMs, namedWaitMsPerNode] = [2000, 10];

/**
 * Follows the kinds of which there are objects: those that the operator's index names. A kind that it does not name is
 * looked at once before the first plan, so that what is planned is complete whoever tells what, and now and then later,
 * for an operator that is away. Without an index every kind is followed.
 */
export class KindFollowers implements AsyncDisposable {
  readonly #options: KindFollowersOptions;
  readonly #timing: Timing;
  readonly #index: IndexWatch;
  readonly #states: readonly KindState[];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];
  /** What the index named when it was looked at last. */
  #named: ReadonlySet<string> | undefined;
  #isStarted = false;
  #isComplete = false;

  constructor(options: KindFollowersOptions) {
    this.#options = options;
    this.#timing = options.timing ?? systemTiming;
    this.#states = options.kinds.map((kind) => ({ kind }));
    this.#index = new IndexWatch(options.client, options.timing, () => this.#decide());
  }

  /** About how many nodes the fleet has; 1 where nobody tells. */
  get nodes(): number {
    return this.#index.current?.nodes ?? 1;
  }

  /** Those that are followed now. */
  *followed(): IterableIterator<FollowedCollection> {
    for (const { followed } of this.#states) if (followed !== undefined) yield followed;
  }

  /** Resolves when everything that there is was read once. */
  async start(): Promise<void> {
    this.#index.start();
    await this.#index.known;
    this.#isStarted = true;
    this.#decide();
    await Promise.all(this.#states.flatMap(({ looked, followed }) => looked ?? followed?.known ?? []));
    this.#isComplete = true;
    if (!this.#stop.signal.aborted) this.#running.push(this.#lookAround());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#index[Symbol.asyncDispose]();
    const followed = [...this.followed()];
    await Promise.all([...this.#running, ...followed.map((each) => each[Symbol.asyncDispose]())]);
  }

  #decide(): void {
    if (!this.#isStarted || this.#stop.signal.aborted) return;
    const { current } = this.#index;
    const before = this.#named;
    const named = (this.#named = current?.collections);
    for (const state of this.#states) {
      const name = collectionOf(state.kind);
      const isNew = named?.has(name) === true && before?.has(name) !== true;
      // Tried in vain before it was named, it is to be there now.
      if (isNew && state.followed?.isUnknown === true) this.#leave(state, state.followed);
      if (named?.has(name) ?? true) this.#follow(state);
      else if (state.followed === undefined) state.looked ??= this.#look(state);
      else this.#leaveIfEmpty(state, state.followed);
    }
  }

  #follow(state: KindState): void {
    state.followed ??= this.#options
      .follow(state.kind, { isLate: this.#isComplete, longestUnknownWaitMs: this.#unknownWaitMs })
      .start();
  }

  /** Without an index the whole fleet asks for kinds that nobody uses. */
  get #unknownWaitMs(): number {
    if (this.#index.current === undefined) return longestWaitMs;
    return Math.min(longestWaitMs, Math.max(namedWaitMs, namedWaitMsPerNode * this.nodes));
  }

  /** What was seen here counts more than what is told. */
  #leaveIfEmpty(state: KindState, followed: FollowedCollection): void {
    if (!followed.isEmpty) return;
    this.#leave(state, followed);
    state.looked = Promise.resolve();
  }

  #leave(state: KindState, followed: FollowedCollection): void {
    state.followed = undefined;
    state.looked = undefined;
    this.#running.push(followed[Symbol.asyncDispose]());
  }

  async #look(state: KindState): Promise<void> {
    const { client, onNotice } = this.#options;
    const { group, version, plural } = state.kind;
    const { signal } = this.#stop;
    for (let waitMs = firstWaitMs; !signal.aborted && state.followed === undefined;) {
      try {
        const { items } = await client.list<AnyObject>({ group, version, plural }, { limit: 1, signal });
        if (items.length > 0) this.#follow(state);
        break;
      } catch (error) {
        if (signal.aborted) return;
        // The server does not know the kind.
        if (isApiError(error) && error.isNotFound) return;
        onNotice(errorText(error));
        await this.#timing.sleep(waitMs * (1 + this.#timing.random()), signal);
        waitMs = Math.min(longestWaitMs, waitMs * 2);
      }
    }
    await state.followed?.known;
  }

  async #lookAround(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const usualMs = Math.max(shortestLookMs, (this.nodes / looksPerSecond) * 1000);
      await this.#timing.sleep((this.#options.lookMs ?? usualMs) * (0.8 + 0.4 * this.#timing.random()), signal);
      for (const state of this.#states)
        if (!signal.aborted && state.followed === undefined) await (state.looked = this.#look(state));
    }
  }
}
