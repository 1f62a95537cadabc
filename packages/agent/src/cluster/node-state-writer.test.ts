import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
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

async function startWriter(t: TestContext, client: OneObject, node: () => AnyObject | undefined): Promise<string[]> {
  const notices: string[] = [];
  const writer = new NodeStateWriter({
    client,
    nodeName: "n1",
    version: "1",
    clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
    daemon: {
      version: () => ({ version: "1", kernel: "6.1", node: "0", libbpf: "1.7" }),
      inventory: async () => ({ programs: [], maps: [], links: [] }),
    },
    plan: () => emptyPlan,
    node,
    whyNotSynced: () => undefined,
    onNotice: (notice) => notices.push(notice),
    paceMs: 1,
    refreshMs: 5,
  });
  t.after(() => writer[Symbol.asyncDispose]());
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
