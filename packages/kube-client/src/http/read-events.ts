import { ApiError, refusal, unanswered } from "@bpfleet/kube";
import type { ApiObject } from "@bpfleet/kube";
import type { EventQuery, StreamEnd } from "../kube-client.ts";
import { Breather } from "./breathe.ts";
import { LineCutter } from "./lines.ts";
import type { Incoming } from "./transport.ts";

interface WireEvent {
  readonly type: string;
  readonly object: object;
}

/**
 * Reads a watch to its end and says what ended it. Throws `ApiError` when the watch is refused, also by an event of
 * type ERROR, and the reason of `query.signal` when that ends it.
 */
export async function readEvents<T extends ApiObject>(
  doing: string,
  open: (signal: AbortSignal) => Promise<Incoming>,
  query: EventQuery<T>,
): Promise<StreamEnd> {
  const own = new AbortController();
  const signal = query.signal === undefined ? own.signal : AbortSignal.any([own.signal, query.signal]);
  let lastByteMs = performance.now();
  let isSilent = false;
  let incoming: Incoming | undefined;
  const watchdog = setInterval(
    () => {
      if (performance.now() - lastByteMs < query.silenceMs) return;
      isSilent = true;
      incoming?.suspect();
      own.abort(new DOMException("nothing came any more", "TimeoutError"));
    },
    Math.max(10, Math.min(1000, query.silenceMs / 4)),
  );
  const lines = new LineCutter();
  const breather = new Breather();
  try {
    incoming = await open(signal);
    lastByteMs = performance.now();
    query.onOpen?.();
    for await (const chunk of incoming.body as AsyncIterable<Buffer>) {
      lastByteMs = performance.now();
      for (const line of lines.cut(chunk)) {
        const event = parseEvent(line);
        if (event === undefined) return "garbage";
        if (event.type === "ERROR") throw refusal(doing, 500, event.object);
        if (!query.onEvent(event.type, event.object as T)) return "unwanted";
        if (!breather.isDue) continue;
        await breather.breathe();
        query.signal?.throwIfAborted();
        lastByteMs = performance.now();
      }
    }
    // Half an event at the end: the connection was closed in the middle of it.
    return lines.pendingBytes === 0 ? "server" : "cut";
  } catch (cause) {
    query.signal?.throwIfAborted();
    if (isSilent) return "silence";
    if (cause instanceof ApiError) throw cause;
    if (cause instanceof RangeError) return "garbage";
    return "cut";
  } finally {
    clearInterval(watchdog);
    own.abort();
  }
}

function parseEvent(line: string): WireEvent | undefined {
  try {
    const { type, object } = JSON.parse(line) as { readonly type?: unknown; readonly object?: unknown };
    return typeof type === "string" && typeof object === "object" && object !== null ? { type, object } : undefined;
  } catch {
    return undefined;
  }
}

/** What the end of a watch means to whoever reads the bare stream. */
export function endingOf(doing: string, end: StreamEnd): ApiError | undefined {
  if (end === "server" || end === "unwanted") return undefined;
  const said = { cut: "the connection broke", silence: "nothing came any more", garbage: "it cannot be read" }[end];
  return unanswered(doing, said);
}
