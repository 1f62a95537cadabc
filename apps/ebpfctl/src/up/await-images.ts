import type { Daemon } from "@bpfleet/daemon";

export interface ImagePatience {
  readonly timeoutMs: number;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
}

/** Waits until nothing is being fetched any more; what still is when the time is over. */
export async function awaitImages(
  daemon: Pick<Daemon, "facts" | "onFacts">,
  { timeoutMs, signal }: ImagePatience,
): Promise<readonly string[]> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    if (fetchedNow(daemon).length === 0) resolve();
  };
  const stop = daemon.onFacts(look);
  const timer = setTimeout(resolve, timeoutMs);
  signal.addEventListener("abort", () => resolve(), { once: true });
  if (signal.aborted) resolve();
  look();
  await promise;
  clearTimeout(timer);
  stop();
  return fetchedNow(daemon);
}

function fetchedNow(daemon: Pick<Daemon, "facts">): readonly string[] {
  return Object.entries(daemon.facts().bytecode ?? {}).flatMap(([source, { state }]) =>
    state === "fetching" ? [source.replace(/^image:\/\//, "").replace(/\?pull=.*$/, "")] : [],
  );
}
