import assert from "node:assert/strict";
import { test } from "node:test";
import { findKind } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { systemTiming, type EventQuery, type KubeClient, type Timing } from "@bpfleet/kube-client";
import { NodePrograms } from "../nodes/node-programs.ts";
import { NodeRegister } from "../nodes/node-register.ts";
import { Activity } from "../run/activity.ts";
import type { Teller } from "../run/part.ts";
import { Aggregator } from "./aggregator.ts";

const kind = findKind("networking.fos1.io/v1alpha1", "EBPFProgram") ?? assert.fail();
const teller: Teller = {
  wrote: () => {},
  failed: (_part, { error }) => assert.fail(String(error)),
  fault: (error) => assert.fail(error),
  happened: () => {},
  note: () => {},
};

/** A server with objects by plural, which tells of those that go, and counts statuses. */
class FakeServer {
  written = 0;
  /** What is there of one object now. */
  find: () => AnyObject | undefined = () => undefined;
  readonly #there: Readonly<Record<string, readonly AnyObject[]>>;
  readonly #watches = new Map<string, EventQuery<AnyObject>["onEvent"]>();

  constructor(there: Readonly<Record<string, readonly AnyObject[]>>) {
    this.#there = there;
  }

  get client(): KubeClient {
    const known: Partial<Record<keyof KubeClient, unknown>> = {
      readEvents: async ({ plural }: { readonly plural: string }, query: EventQuery<AnyObject>) => {
        query.onOpen?.();
        for (const object of this.#there[plural] ?? []) query.onEvent("ADDED", object);
        const annotations = { "k8s.io/initial-events-end": "true" };
        const metadata = { name: "", resourceVersion: "1", annotations };
        query.onEvent("BOOKMARK", { apiVersion: "v1", kind: "Bookmark", metadata });
        this.#watches.set(plural, query.onEvent);
        await new Promise((resolve) => query.signal?.addEventListener("abort", resolve));
        return "server";
      },
      find: async () => this.find(),
      applyStatus: async (_address: unknown, object: AnyObject) => {
        this.written++;
        return { ...object, metadata: { ...object.metadata, resourceVersion: "2" } };
      },
    };
    return known as unknown as KubeClient;
  }

  lose(plural: string): void {
    for (const object of this.#there[plural] ?? []) this.#watches.get(plural)?.("DELETED", object);
  }
}

function object(apiVersion: string, kindName: string, name: string, namespace?: string): AnyObject {
  return {
    apiVersion,
    kind: kindName,
    metadata: { name, namespace, uid: name, resourceVersion: "1", generation: 1 },
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 60_000;
  for (; !holds(); await new Promise((resolve) => setTimeout(resolve, 5))) assert.ok(performance.now() < end, what);
}

/** Over everything that it asks, whose kind is another's where `isLeft`. */
async function startAggregator(
  client: KubeClient,
  { isLeft = false, timing = systemTiming, gatherMs }: { isLeft?: boolean; timing?: Timing; gatherMs: number },
): Promise<{ readonly aggregator: Aggregator } & AsyncDisposable> {
  await using closing = new AsyncDisposableStack();
  const activity = new Activity();
  activity.decide(true);
  const nodes = closing.use(new NodeRegister(client, teller));
  const programs = closing.use(new NodePrograms(client, [], teller));
  const aggregator = closing.use(
    new Aggregator({
      client,
      kinds: [kind],
      isFollowed: () => !isLeft,
      isLeft: () => isLeft,
      nodes,
      programs,
      daemonSet: () => undefined,
      hasPod: () => false,
      teller,
      timing,
      activity,
      pace: { gatherMs, betweenMs: 0, betweenMsPerNode: 0 },
    }),
  );
  const owned = closing.move();
  return { aggregator, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

test("Aggregator looks at every object once, however many nodes are lost at the same time", async () => {
  const names = (count: number, letter: string): readonly string[] =>
    Array.from({ length: count }, (_, index) => `${letter}${index}`);
  const [nodes, objects] = [names(400, "n"), names(400, "p")];
  const server = new FakeServer({
    nodestates: nodes.map((name) => object("bpfleet.io/v1alpha1", "NodeState", name)),
    nodes: nodes.map((name) => object("v1", "Node", name)),
    ebpfprograms: objects.map((name) => object("networking.fos1.io/v1alpha1", "EBPFProgram", name, "default")),
  });
  let looks = 0;
  const timing: Timing = { ...systemTiming, monotonicMs: () => (looks++, systemTiming.monotonicMs()) };
  await using started = await startAggregator(server.client, { timing, gatherMs: 500 });
  const { aggregator } = started;
  const stop = new AbortController();
  const leading = aggregator.lead(stop.signal);
  await until("all are written", () => server.written >= objects.length);
  looks = 0;
  server.lose("nodestates");
  await until("they are gone", () => aggregator.sizes.reports === 0);
  const asked = looks;
  stop.abort();
  await leading;
  // Each look asks it a few times.
  assert.ok(asked <= 10 * (nodes.length + objects.length), `the clock was asked ${asked} times`);
});

test("Aggregator takes its status back once a leadership, of a kind that others serve", async () => {
  const program = object("networking.fos1.io/v1alpha1", "EBPFProgram", "p", "default");
  const ours: AnyObject = {
    ...program,
    metadata: {
      ...program.metadata,
      managedFields: [{ manager: "bpfleet-operator", operation: "Apply", subresource: "status" }],
    },
    status: { phase: "Ready" },
  };
  const server = new FakeServer({ ebpfprograms: [ours] });
  server.find = () => ours;
  await using started = await startAggregator(server.client, { isLeft: true, gatherMs: 5 });
  const { aggregator } = started;
  for (const leadership of [1, 2]) {
    const stop = new AbortController();
    const leading = aggregator.lead(stop.signal);
    // Another operator may have written it while this one did not lead.
    await until(`it is taken back in leadership ${leadership}`, () => server.written === leadership);
    aggregator.look();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(server.written, leadership);
    stop.abort();
    await leading;
  }
});
