import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { randomUUID } from "node:crypto";
import { KernelError, renderTime } from "@bpfleet/base";
import { emptyPlan, type BytecodeSource, type EndpointWish, type NodePlan, type PolicyReach } from "@bpfleet/kernel";
import {
  DocumentReader,
  encodeDifference,
  MalformedDocument,
  OtherBase,
  outlineOf,
  PlanService,
  SessionEventSchema,
  type Frame,
  type HeldDocument,
  type OpenRequest,
  type Outline,
  type OutgoingItem,
  type PlanPart,
  type SessionEvent,
} from "@bpfleet/wire";
import { answer } from "../api/daemon-routes.ts";
import { encodeInventory } from "../api/to-wire.ts";
import type { PullSecrets } from "../bytecode/bytecode-watch.ts";
import type { Daemon } from "../daemon.ts";
import { encodeAllCounters } from "./counters-document.ts";
import { factsItems } from "./facts-document.ts";
import { cutValue, readValue } from "./parts.ts";
import { decodePlanItem, encodePlan, planOf } from "./plan-document.ts";
import { hashItem, largestDocumentBytes, protocols as ownProtocols, type ProtocolRange } from "./protocol.ts";
import { resultsItems } from "./results-document.ts";

export type PlannedDaemon = Pick<
  Daemon,
  | "facts"
  | "onFacts"
  | "watchCgroups"
  | "watchEndpoints"
  | "watchBytecode"
  | "setPlan"
  | "lastPlan"
  | "results"
  | "onChange"
  | "counters"
  | "inventory"
  | "version"
>;

export interface PlanRoutesOptions {
  /** Another range than this version's, to try versions against each other. */
  readonly protocols?: ProtocolRange | undefined;
  /** Told when an agent comes and when it is gone. */
  readonly onAgent?: ((what: "comes" | "is gone", version: string) => void) | undefined;
}

/** Results come one by one while a plan is applied. */
const gatherMs = 20;

/** What an agent is to this daemon from its call until it hangs up. */
interface Session {
  readonly id: string;
  readonly agentId: string;
  readonly version: string;
  readonly sinceMs: number;
  readonly end: () => void;
}

export function routePlan(
  router: ConnectRouter,
  daemon: PlannedDaemon,
  { protocols = ownProtocols, onAgent }: PlanRoutesOptions,
): void {
  let session: Session | undefined;
  let held: HeldDocument<unknown> | undefined;
  let plan: NodePlan = emptyPlan;
  let serial = 1n;
  daemon.onFacts(() => serial++);

  const check = (id: string): void => {
    if (id !== session?.id)
      throw new ConnectError("drive this daemon: the session has ended; open another", Code.Aborted);
  };

  router.service(PlanService, {
    async *open(request, context) {
      const protocol = agree(request, protocols, daemon);
      if (session !== undefined && session.agentId !== request.agentId)
        throw new ConnectError(
          `drive this daemon: another agent, ${session.version}, does since ${renderTime(session.sinceMs)}; stop it`,
          Code.FailedPrecondition,
        );
      session?.end();
      const ended = new AbortController();
      const own: Session = {
        id: randomUUID(),
        agentId: request.agentId,
        version: request.agentVersion,
        sinceMs: Date.now(),
        end: () => ended.abort(),
      };
      session = own;
      // The agent knows of no plan: it will send a whole one.
      held = undefined;
      onAgent?.("comes", request.agentVersion);
      try {
        const { version, kernel, node, libbpf } = daemon.version();
        const hello = { protocol, session: own.id, version, kernel, node, libbpf };
        yield create(SessionEventSchema, { event: { case: "hello", value: hello } });
        yield* changes(daemon, () => serial, [context.signal, ended.signal]);
      } finally {
        if (session === own) session = undefined;
        onAgent?.("is gone", request.agentVersion);
      }
    },

    setPlan: (parts) =>
      answer(async () => {
        const received = await readPlan(parts, held, check);
        if (received === undefined) return { wantsWhole: true };
        held = received.document;
        plan = planOf(held);
        return { revision: daemon.setPlan(plan, { complete: received.isComplete }) };
      }),

    async *readPlan({ session: id }) {
      check(id);
      yield* cutValue(encodePlan(daemon.lastPlan()), id);
    },

    watchCgroups: ({ session: id, paths }) => {
      check(id);
      daemon.watchCgroups(paths);
      return { serial };
    },

    watchEndpoints: (parts) =>
      answer(async () => {
        const { wishes, reach } = (await readValue("the pods that are looked for", parts, check)) as {
          wishes: readonly EndpointWish[];
          reach: PolicyReach;
        };
        await daemon.watchEndpoints(wishes, reach);
        return { serial };
      }),

    watchBytecode: (parts) =>
      answer(async () => {
        const { sources, secrets } = (await readValue("the sources of programs", parts, check)) as {
          sources: readonly BytecodeSource[];
          secrets: PullSecrets;
        };
        daemon.watchBytecode(sources, secrets);
        return { serial };
      }),

    async *readCounters({ session: id }) {
      check(id);
      const counters = await answer(() => daemon.counters());
      yield* cutValue(encodeAllCounters(counters, plan), id);
    },

    readInventory: ({ session: id }) =>
      answer(async () => {
        check(id);
        return encodeInventory(await daemon.inventory());
      }),
  });
}

/** The newest version that both speak. */
function agree(
  { oldestProtocol, newestProtocol, agentVersion }: OpenRequest,
  own: ProtocolRange,
  daemon: PlannedDaemon,
): number {
  const newest = Math.min(newestProtocol, own.newest);
  if (newest >= Math.max(oldestProtocol, own.oldest)) return newest;
  const behind = newestProtocol < own.oldest ? "agent" : "daemon";
  throw new ConnectError(
    `drive daemon ${daemon.version().version}: agent ${agentVersion} speaks protocol ${rangeText(oldestProtocol, newestProtocol)}, this daemon ${rangeText(own.oldest, own.newest)}; upgrade the ${behind}`,
    Code.Unimplemented,
  );
}

function rangeText(oldest: number, newest: number): string {
  return oldest === newest ? `${newest}` : `${oldest} to ${newest}`;
}

/** Facts and results, whole at first and then what changed. A reader that is slow gets fewer, larger changes. */
async function* changes(
  daemon: PlannedDaemon,
  serialOf: () => bigint,
  ends: readonly AbortSignal[],
): AsyncGenerator<SessionEvent> {
  let wake = (): void => {};
  const stops = [daemon.onFacts(() => wake()), daemon.onChange(() => wake())];
  for (const signal of ends) signal.addEventListener("abort", () => wake());
  let facts: ReturnType<Daemon["facts"]> | undefined;
  let results: ReturnType<Daemon["results"]> | undefined;
  const [factsSent, resultsSent] = [new SentDocument(), new SentDocument()];
  try {
    while (!ends.some(({ aborted }) => aborted)) {
      if (facts !== daemon.facts()) {
        facts = daemon.facts();
        const serial = serialOf();
        for (const frame of factsSent.framesTo(factsItems(facts)))
          yield create(SessionEventSchema, { event: { case: "facts", value: { serial, frame } } });
        continue;
      }
      if (results !== daemon.results()) {
        results = daemon.results();
        for (const frame of resultsSent.framesTo(resultsItems(results)))
          yield create(SessionEventSchema, { event: { case: "results", value: { frame } } });
        await new Promise((resolve) => setTimeout(resolve, gatherMs));
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (ends.some(({ aborted }) => aborted)) resolve();
      });
    }
  } finally {
    for (const stop of stops) stop();
  }
}

/** Of what was sent only the outline is kept: sessions are silent for long. */
class SentDocument {
  #outline: Outline | undefined;

  *framesTo(now: Iterable<OutgoingItem>): Generator<Frame, void> {
    const items = [...now];
    yield* encodeDifference(this.#outline, items, hashItem);
    this.#outline = outlineOf(items);
  }
}

/** `undefined` when it is the difference to a plan that is not here. */
async function readPlan(
  parts: AsyncIterable<PlanPart>,
  held: HeldDocument<unknown> | undefined,
  check: (session: string) => void,
): Promise<{ readonly document: HeldDocument<unknown>; readonly isComplete: boolean } | undefined> {
  const options = { hash: hashItem, decode: decodePlanItem, largestBytes: largestDocumentBytes };
  const reader = new DocumentReader(held, options);
  let whole: { readonly document: HeldDocument<unknown>; readonly isComplete: boolean } | undefined;
  try {
    for await (const { session, isComplete, frame } of parts) {
      check(session);
      const document = frame && reader.take(frame);
      if (document !== undefined) whole = { document, isComplete };
    }
  } catch (error) {
    if (error instanceof OtherBase) return undefined;
    if (!(error instanceof MalformedDocument || error instanceof RangeError)) throw error;
    throw new KernelError(`read the plan: ${error.message}; run agent and daemon of one version`, {
      code: "invalid",
      call: "SetPlan",
      retry: "when-changed",
      cause: error,
    });
  }
  if (whole === undefined) throw new ConnectError("read the plan: it is cut short", Code.InvalidArgument);
  return whole;
}
