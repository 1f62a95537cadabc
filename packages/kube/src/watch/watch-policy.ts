export interface WatchPolicy {
  /** Objects in one page of a list; 0: all at once. */
  readonly pageSize: number;
  /**
   * `latest`: the first list is what the store holds. `any`: what the server remembers is enough, which costs it
   * less and may, after a restart of ours, be older than what was seen before it.
   */
  readonly startFrom: "latest" | "any";
  /** Ask for the first list as a stream of events, where the server serves that. */
  readonly usesWatchList: boolean;
  /** Streams of initial events that may end early before lists are used instead. */
  readonly initialEventsTries: number;
  /** A watch is asked for at least so long, and at most twice that; then the server ends it. */
  readonly shortestWatchSeconds: number;
  /** No byte for so long, and the connection counts as dead; servers send a bookmark about every minute where there is news of a version. */
  readonly silenceMs: number;
  /** After so many watches in a row that lived so long with nothing in them, the collection is read anew. */
  readonly emptyWatchesTries: number;
  readonly firstWaitMs: number;
  readonly longestWaitMs: number;
  /** The same while the server does not know the kind (404): its CRD may come at any moment. */
  readonly longestUnknownWaitMs: number;
  /** A watch that lived so long makes the waits short again. */
  readonly healthyAfterMs: number;
  /** A watch that ended sooner, with nothing seen, is a failure. */
  readonly shortestWatchMs: number;
}

export const defaultWatchPolicy: WatchPolicy = {
  pageSize: 500,
  startFrom: "latest",
  usesWatchList: true,
  initialEventsTries: 3,
  shortestWatchSeconds: 300,
  silenceMs: 90_000,
  emptyWatchesTries: 3,
  firstWaitMs: 500,
  longestWaitMs: 30_000,
  longestUnknownWaitMs: 30_000,
  healthyAfterMs: 10_000,
  shortestWatchMs: 1000,
};
