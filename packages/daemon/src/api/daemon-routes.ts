import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { KernelError, type ErrorCode } from "@bpfleet/base";
import { DaemonService, FailureSchema } from "@bpfleet/wire";
import type { Daemon, TraceEvent } from "../daemon.ts";
import { decodeRef } from "./from-wire.ts";
import {
  encodeCounters,
  encodeEvents,
  encodeExplanation,
  encodeFacts,
  encodeHookCounters,
  encodeInventory,
  encodeObserved,
  encodeResults,
} from "./to-wire.ts";

/** Batches of events that may wait for a slow reader; older ones are then left out. */
const waitingBatches = 64;

export type ServedDaemon = Omit<
  Daemon,
  "setPlan" | "lastPlan" | "watchCgroups" | "watchEndpoints" | "watchBytecode" | "stop" | typeof Symbol.asyncDispose
>;

export function routeDaemon(router: ConnectRouter, daemon: ServedDaemon): void {
  router.service(DaemonService, {
    getState: ({ withCounters }) =>
      answer(async () => ({
        facts: encodeFacts(daemon.facts()),
        results: encodeResults(daemon.results()),
        counters: withCounters ? (await daemon.counters()).map(encodeCounters) : [],
        hooks: withCounters ? (await daemon.hookCounters()).map(encodeHookCounters) : [],
      })),
    observe: ({ withEntries }) => answer(async () => encodeObserved(await daemon.observe(withEntries))),
    getInventory: () => answer(async () => encodeInventory(await daemon.inventory())),
    explain: ({ hook, packet }) => answer(async () => encodeExplanation(await daemon.explain({ hook, packet }))),
    pause: () =>
      answer(async () => {
        await daemon.pause();
        return {};
      }),
    resume: () =>
      answer(async () => {
        await daemon.resume();
        return {};
      }),
    getVersion: () => answer(async () => ({ ...daemon.version() })),
    async *trace({ every, only, owner }, context) {
      const options = {
        every: Math.max(1, every),
        only: only === "drop" || only === "flow" ? only : "all",
        owner: owner && decodeRef(owner),
      } as const;
      const subscribe = (take: (events: readonly TraceEvent[]) => void) => answer(() => daemon.trace(options, take));
      for await (const events of untilHangUp(subscribe, context, tellMissing)) yield encodeEvents(events);
    },
    async *followLog({ tail, follow }, context) {
      const recent = tail === 0 ? [] : daemon.recentLog().slice(-tail);
      if (recent.length > 0) yield { lines: [...recent] };
      if (!follow) return;
      const subscribe = async (take: (lines: readonly string[]) => void): Promise<AsyncDisposable> => {
        const end = daemon.onLog(take);
        return { [Symbol.asyncDispose]: async () => end() };
      };
      for await (const lines of untilHangUp(subscribe, context)) yield { lines: [...lines] };
    },
  });
}

/** Those that are left out, with the first that comes after them. */
function tellMissing(gone: readonly TraceEvent[], next: readonly TraceEvent[]): readonly TraceEvent[] {
  const [first, ...others] = next;
  if (first === undefined) return next;
  return [{ ...first, missed: gone.reduce((sum, { missed = 0 }) => sum + 1 + missed, first.missed ?? 0) }, ...others];
}

async function* untilHangUp<T>(
  subscribe: (take: (some: readonly T[]) => void) => Promise<AsyncDisposable>,
  { signal }: HandlerContext,
  leaveOut: (gone: readonly T[], next: readonly T[]) => readonly T[] = (_, next) => next,
): AsyncGenerator<readonly T[]> {
  const waiting: (readonly T[])[] = [];
  let wake = () => {};
  await using _subscription = await subscribe((some) => {
    waiting.push(some);
    if (waiting.length > waitingBatches) {
      const [gone = [], next = []] = waiting.splice(0, 2);
      waiting.unshift(leaveOut(gone, next));
    }
    wake();
  });
  signal.addEventListener("abort", () => wake());
  while (!signal.aborted) {
    const events = waiting.shift();
    if (events !== undefined) {
      yield events;
      continue;
    }
    await new Promise<void>((resolve) => {
      wake = resolve;
      if (signal.aborted) resolve();
    });
  }
}

const statusCodes: Partial<Record<ErrorCode, Code>> = {
  "no-permission": Code.PermissionDenied,
  "not-found": Code.NotFound,
  "interface-missing": Code.NotFound,
  exists: Code.AlreadyExists,
  invalid: Code.InvalidArgument,
  "not-supported": Code.Unimplemented,
  full: Code.ResourceExhausted,
  "too-big": Code.ResourceExhausted,
  busy: Code.FailedPrecondition,
  stale: Code.Aborted,
};

/** Errors travel in headers, whose size is limited. The end of a verifier's log is what tells. */
const longestDetail = 8192;

/** Errors of the kernel keep their fields on the way. */
export async function answer<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    const { code, call, errno, retry } = error;
    const detail = error.detail?.slice(-longestDetail);
    const value = { code, call, retry, ...(errno !== undefined && { errno }), ...(detail !== undefined && { detail }) };
    throw new ConnectError(
      error.message,
      statusCodes[code] ?? Code.Internal,
      undefined,
      [{ desc: FailureSchema, value }],
      error,
    );
  }
}
