import { renderAddress } from "@bpfleet/kube";
import type { ApiObject, ResourceAddress } from "@bpfleet/kube";
import type { KubeClient, WatchEvent, WatchOptions } from "../kube-client.ts";
import { endingOf } from "./read-events.ts";
import { selectionQuery } from "./queries.ts";

const silenceMs = 90_000;

/** One watch as an iterable; the reader's pace does not hold the connection, events wait in memory. */
export async function* watchEvents<T extends ApiObject>(
  client: Pick<KubeClient, "readEvents">,
  address: ResourceAddress,
  options: WatchOptions,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  const waiting: WatchEvent<T>[] = [];
  let wake = Promise.withResolvers<void>();
  let isOver = false;
  let failure: Error | undefined;
  const { resourceVersion, timeoutSeconds, allowBookmarks } = options;
  const query = {
    ...selectionQuery(options),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(timeoutSeconds === undefined ? {} : { timeoutSeconds: String(timeoutSeconds) }),
    ...(allowBookmarks === true ? { allowWatchBookmarks: "true" } : {}),
  };
  const onEvent = (type: string, object: T): boolean => {
    waiting.push({ type: type as WatchEvent<T>["type"], object });
    wake.resolve();
    return true;
  };
  const reading = client
    .readEvents<T>(address, { query, signal, silenceMs, onEvent })
    .then((end) => (failure = endingOf(`watch ${renderAddress(address)}`, end)))
    .catch((error: Error) => (failure = error))
    .finally(() => {
      isOver = true;
      wake.resolve();
    });
  try {
    for (;;) {
      for (let event = waiting.shift(); event !== undefined; event = waiting.shift()) yield event;
      if (isOver) break;
      await wake.promise;
      wake = Promise.withResolvers();
    }
    if (failure !== undefined && options.signal?.aborted !== true) throw failure;
  } finally {
    stop.abort();
    await reading;
  }
}
