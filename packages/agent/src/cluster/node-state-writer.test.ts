import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { emptyPlan } from "@bpfleet/kernel";
import type { Condition, NodeStateStatus } from "@bpfleet/kinds";
import { ApiError, type AnyObject } from "@bpfleet/kube";
import { settledResults } from "../testing/cluster-follower.ts";
import type { NodeStateWriterOptions } from "./node-state-writer.ts";
import { NodeStateWriter } from "./node-state-writer.ts";

type Client = NodeStateWriterOptions["client"];
type Stored = AnyObject & { readonly status?: NodeStateStatus };

function refusal(status: number, reason: string): ApiError {
  return new ApiError(reason, { status, reason, code: "api-unreachable", retry: "backoff" });
}

/** One object, and what was asked for it. */
class OneObject implements Client {
  object: Stored | undefined;
  readonly asked: string[] = [];
  /** Refuses what is asked by this word. */
  refused = "";
  #version = 0;

  set(object: Stored | undefined): void {
    const metadata = { ...object?.metadata, name: "n1", resourceVersion: String(++this.#version) };
    this.object = object && { ...object, metadata };
  }

  #note(what: string): void {
    this.asked.push(what);
    if (what === this.refused) throw refusal(503, "ServiceUnavailable");
  }

  async find<T>(): Promise<T | undefined> {
    this.#note("get");
    return this.object as T | undefined;
  }

  async request({ path, accept }: Parameters<Client["request"]>[0]): Promise<unknown> {
    this.#note("glance");
    assert.equal(path, "/apis/bpfleet.io/v1alpha1/nodestates/n1?resourceVersion=0");
    assert.match(accept ?? "", /as=PartialObjectMetadata/);
    if (this.object === undefined) throw refusal(404, "NotFound");
    return { metadata: this.object.metadata };
  }

  async apply<T>(_address: unknown, object: unknown): Promise<T> {
    this.#note("make");
    this.set({ ...this.object, ...(object as Stored) });
    return this.object as T;
  }

  async updateStatus<T>(_address: unknown, object: unknown): Promise<T> {
    this.#note("write");
    const { metadata, status } = object as Stored;
    if (this.object === undefined) throw refusal(404, "NotFound");
    if (metadata.resourceVersion !== this.object.metadata.resourceVersion) throw refusal(409, "Conflict");
    this.set({ ...this.object, ...(status && { status }) });
    return this.object as T;
  }

  /** As somebody else edits it. */
  edit(change: (status: NodeStateStatus) => NodeStateStatus): void {
    assert.ok(this.object?.status !== undefined);
    this.set({ ...this.object, status: change(this.object.status) });
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    for (let waitedMs = 0; !holds() && waitedMs < 20_000; waitedMs += 5) await sleep(5);
    assert.ok(holds(), `${what}: ${this.asked.join()}`);
  }

  /** Resolves after three more looks; what else was asked meanwhile. */
  async looks(): Promise<readonly string[]> {
    const start = this.asked.length;
    const since = (): readonly string[] => this.asked.slice(start);
    await this.until("it looks", () => since().filter((what) => what === "glance").length >= 3);
    return [...new Set(since())].filter((what) => what !== "glance");
  }
}

type WriterOptions = ConstructorParameters<typeof NodeStateWriter>[0];

function makeWriter(
  t: TestContext,
  options: Partial<WriterOptions> & Pick<WriterOptions, "client" | "refreshMs">,
): NodeStateWriter {
  const writer = new NodeStateWriter({
    nodeName: "n1",
    version: "1",
    clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
    daemon: {
      version: () => ({ version: "1", kernel: "6.1", node: "0", libbpf: "1.7" }),
      inventory: async () => ({ programs: [], maps: [], links: [] }),
    },
    plan: () => emptyPlan,
    node: () => n1,
    whyNotSynced: () => undefined,
    onNotice: () => undefined,
    paceMs: 1,
    ...options,
  });
  t.after(() => writer[Symbol.asyncDispose]());
  return writer;
}

async function startWriter(t: TestContext, client: OneObject, node: () => AnyObject | undefined): Promise<string[]> {
  const notices: string[] = [];
  const writer = makeWriter(t, { client, node, onNotice: (notice) => notices.push(notice), refreshMs: 5 });
  const ref = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "p" };
  const object = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", metadata: { name: "p" } };
  writer.reports([{ ref, object, state: "in-force", messages: [], events: [] }], settledResults);
  await client.until("it is written", () => client.object?.status !== undefined);
  return notices;
}

const n1: AnyObject = { apiVersion: "v1", kind: "Node", metadata: { name: "n1", uid: "u" } };

test("NodeStateWriter of a quiet node writes what somebody removed or edited, and else only looks", async (t) => {
  const client = new OneObject();
  await startWriter(t, client, () => n1);
  const names = (): readonly string[] => client.object?.status?.results?.map(({ name }) => name) ?? [];
  assert.deepEqual(names(), ["p"]);
  assert.deepEqual(await client.looks(), []);
  const { object: first } = client;
  client.set(undefined);
  await client.until("it is there again", () => names().length === 1);
  assert.deepEqual(
    [client.object?.metadata.ownerReferences, client.object?.status?.versions],
    [first?.metadata.ownerReferences, first?.status?.versions],
  );
  assert.deepEqual(await client.looks(), []);
  client.edit((status) => ({ ...status, results: [] }));
  await client.until("its results are there again", () => names().length === 1);
  assert.deepEqual(await client.looks(), []);
  client.edit(({ conditions = [], ...status }) => ({ ...status, conditions: conditions.slice(1) }));
  await client.until("its condition is there again", () => client.object?.status?.conditions?.length === 4);
});

test("NodeStateWriter leaves what the operator says of an agent that it does not hear", async (t) => {
  const client = new OneObject();
  await startWriter(t, client, () => n1);
  client.edit(({ conditions = [], ...status }) => ({
    ...status,
    conditions: conditions.flatMap((each): Condition[] =>
      each.type === "Ready"
        ? [
            { ...each, status: "Unknown", reason: "NodeLost" },
            { ...each, type: "LastTold" },
          ]
        : [each],
    ),
  }));
  assert.deepEqual(await client.looks(), ["get"], "it looks at all of it once");
  assert.deepEqual(await client.looks(), []);
  client.edit((status) => ({ ...status, results: [] }));
  await client.until("it writes what is its own", () => client.object?.status?.results?.length === 1);
});

test("NodeStateWriter tries again what it could not write, and writes nothing of a node that is gone", async (t) => {
  const client = new OneObject();
  let node: AnyObject | undefined = n1;
  const notices = await startWriter(t, client, () => node);
  client.refused = "write";
  client.edit((status) => ({ ...status, results: [] }));
  await client.until("it cannot be written", () => notices.length > 0);
  client.refused = "";
  await client.until("it is written", () => client.object?.status?.results?.length === 1);
  client.refused = "glance";
  assert.deepEqual(await client.looks(), []);
  client.refused = "";
  assert.equal(notices.length, 1, "who does not answer is told of where something is to be written");
  node = undefined;
  client.set(undefined);
  const { length } = client.asked;
  await sleep(50);
  assert.deepEqual(client.asked.slice(length), []);
});

test("NodeStateWriter tells numbers of a fleet of 5,000 at most 20 times a second, news of all as fast as ever", async (t) => {
  const fleet = new CountingFleet(t, 5000, 500);
  await fleet.pass(60);
  assert.ok(fleet.take() >= 500, "each was told of");
  for (let minutes = 0; minutes < 8; minutes++) {
    await fleet.pass(60);
    const written = fleet.take();
    assert.ok(written <= (20 * 60) / 10, `${written} in a minute`);
  }
  assert.ok(fleet.oldestSeconds < 480, `told ${fleet.oldestSeconds} s ago`);
  fleet.state = "failed";
  await fleet.pass(60);
  assert.equal(fleet.failed, 500, "all tell that it failed");
  fleet.take();
  for (let minutes = 0; minutes < 8; minutes++) {
    await fleet.pass(60);
    const written = fleet.take();
    assert.ok(written <= (20 * 60) / 10, `${written} in a minute after news of all`);
  }
  fleet.isCounting = false;
  await fleet.pass(480);
  fleet.take();
  fleet.isCounting = true;
  await fleet.pass(120);
  const first = fleet.take();
  assert.ok(first <= (20 * 120) / 10, `${first} when traffic begins everywhere`);
});

test("NodeStateWriter tells numbers of a small fleet once a minute", async (t) => {
  const fleet = new CountingFleet(t, 10, 10);
  await fleet.pass(60);
  fleet.take();
  await fleet.pass(600);
  const written = fleet.take();
  assert.ok(written >= 90 && written <= 130, `${written} in ten minutes`);
});

/** Writers of some nodes of a fleet, whose numbers grow, in a time of their own. */
class CountingFleet {
  state: "in-force" | "failed" = "in-force";
  isCounting = true;
  #packets = 0;
  readonly #t: TestContext;
  readonly #writers: NodeStateWriter[];
  readonly #toldAt: number[] = [];
  readonly #failed = new Set<number>();
  #nowMs = 0;
  #written = 0;

  constructor(t: TestContext, nodes: number, writers: number) {
    this.#t = t;
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const clock = { now: () => this.#nowMs, monotonicMs: () => this.#nowMs };
    t.mock.method(performance, "now", clock.monotonicMs);
    this.#writers = Array.from(
      { length: writers },
      (_, at) =>
        new NodeStateWriter({
          client: this.#client(at),
          nodeName: "n1",
          version: "1",
          clock,
          daemon: {
            version: () => ({ version: "1", kernel: "6.1", node: "0", libbpf: "1.7" }),
            inventory: async () => ({ programs: [], maps: [], links: [] }),
          },
          plan: () => emptyPlan,
          node: () => n1,
          whyNotSynced: () => undefined,
          onNotice: (notice) => assert.fail(notice),
          // As the index tells it: the next power of two.
          nodes: () => 2 ** Math.ceil(Math.log2(nodes)),
        }),
    );
    t.after(() => Promise.all(this.#writers.map((writer) => writer[Symbol.asyncDispose]())));
  }

  /** Status writes since it was asked last. */
  take(): number {
    const written = this.#written;
    this.#written = 0;
    return written;
  }

  get failed(): number {
    return this.#failed.size;
  }

  get oldestSeconds(): number {
    return (this.#nowMs - Math.min(...this.#toldAt)) / 1000;
  }

  async pass(seconds: number): Promise<void> {
    for (let at = 0; at < seconds; at++) {
      if (at % 30 === 0) for (const writer of this.#writers) writer.reports([this.#report()], settledResults);
      this.#nowMs += 1000;
      if (this.isCounting) this.#packets++;
      this.#t.mock.timers.tick(1000);
      await nextTurn();
    }
  }

  #report(): Parameters<NodeStateWriter["reports"]>[0][number] {
    const ref = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "p" };
    const object = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", metadata: { name: "p" } };
    const status = { metrics: { packetsPassed: this.#packets } };
    return { ref, object: { ...object, status }, state: this.state, messages: [], events: [] };
  }

  #client(at: number): Client {
    const object = new OneObject();
    object.set(n1);
    return {
      find: () => object.find(),
      request: (options) => object.request(options),
      apply: (address, body) => object.apply(address, body),
      updateStatus: (address, body: object) => {
        this.#written++;
        this.#toldAt[at] = this.#nowMs;
        if ((body as Stored).status?.objects?.failed === 1) this.#failed.add(at);
        return object.updateStatus(address, body);
      },
    };
  }
}

test("NodeStateWriter tells that not everything is followed when it looks, whatever else changed", async (t) => {
  const client = new OneObject();
  let unsynced: string | undefined;
  const writer = makeWriter(t, { client, whyNotSynced: () => unsynced, refreshMs: 3_600_000 });
  writer.lookAtSync();
  writer.reports([], settledResults);
  const synced = () => client.object?.status?.conditions?.find(({ type }) => type === "Synced")?.status;
  await client.until("it is written", () => synced() === "True");
  unsynced = "list pods: forbidden";
  writer.lookAtSync();
  await client.until("it tells that it is not", () => synced() === "False");
  unsynced = undefined;
  writer.lookAtSync();
  await client.until("it tells that it is", () => synced() === "True");
});
