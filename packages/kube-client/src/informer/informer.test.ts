import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApiError, ApiObject } from "@bpfleet/kube";
import { connectKube } from "../http/http-client.ts";
import { ScriptServer, answerJson, answerStream } from "../testing/script-server.ts";
import { createInformer } from "./informer.ts";

const pods = { group: "", version: "v1", plural: "pods" };
const quick = { firstWaitMs: 1, longestWaitMs: 5 };

function event(type: string, name: string, resourceVersion: string): string {
  const metadata = { name, uid: name, resourceVersion };
  return `${JSON.stringify({ type, object: { apiVersion: "v1", kind: "Pod", metadata } })}\n`;
}

function initialEnd(resourceVersion: string): string {
  const metadata = { resourceVersion, annotations: { "k8s.io/initial-events-end": "true" } };
  return `${JSON.stringify({ type: "BOOKMARK", object: { kind: "Pod", apiVersion: "v1", metadata } })}\n`;
}

async function until(isTrue: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!isTrue()) {
    assert.ok(performance.now() < end, "not within half a minute");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("Informer reads the collection anew after what it cannot understand, and keeps its copy meanwhile", async () => {
  await using server = await ScriptServer.start(
    answerStream("stay", event("ADDED", "a", "3"), event("ADDED", "b", "4"), initialEnd("5"), "{garbage\n"),
    answerJson({ message: "starting" }, 503),
    answerStream("stay", event("ADDED", "b", "9"), event("ADDED", "c", "8"), initialEnd("10")),
  );
  await using client = connectKube(server.access);
  const faults: ApiError[] = [];
  const told: string[] = [];
  await using informer = createInformer(client, {
    resource: pods,
    policy: quick,
    onFault: (fault) => faults.push(fault),
  });
  informer.onChange(({ type, key }) => told.push(`${type} ${key}`));
  await informer.start().synced();
  await until(() => told.length === 5);
  assert.deepEqual(told, ["added a", "added b", "deleted a", "updated b", "added c"]);
  assert.deepEqual(
    faults.map(({ message }) => message.replace(/;.*/, "")),
    ["watch pods: what came cannot be read", "watch pods: starting (503)"],
  );
  assert.equal(informer.fault, undefined);
});

test("Informer lists where initial events are refused, and asks no second time for them", async () => {
  const refused = answerJson({ reason: "Invalid", code: 422, message: "sendInitialEvents is forbidden" }, 422);
  const items = [{ metadata: { name: "a", uid: "a", resourceVersion: "1" } }];
  await using server = await ScriptServer.start(
    refused,
    answerJson({ kind: "PodList", apiVersion: "v1", metadata: { resourceVersion: "5", continue: "T" }, items }),
    answerJson({ kind: "PodList", apiVersion: "v1", metadata: { resourceVersion: "5" }, items: [] }),
    answerStream("stay"),
  );
  await using client = connectKube(server.access);
  await using informer = createInformer(client, { resource: { ...pods, name: "a" }, policy: quick });
  await informer.start().synced();
  await until(() => server.asked.length === 4);
  const queries = server.asked.map((asked) => new URL(asked.slice(4), "http://x").searchParams);
  assert.deepEqual(
    queries.map((query) => query.get("fieldSelector")),
    Array.from({ length: 4 }, () => "metadata.name=a"),
  );
  assert.deepEqual(
    queries.map((query) => query.get("sendInitialEvents")),
    ["true", null, null, null],
  );
  assert.deepEqual(
    queries.map((query) => query.get("continue")),
    [null, null, "T", null],
  );
  assert.equal(queries[3]?.get("resourceVersion"), "5");
  assert.equal(informer.get("", "a")?.kind, "Pod");
});

test("Informer tells who comes late what is there, once, and nothing to who has left", async () => {
  await using server = await ScriptServer.start(
    answerStream(
      "stay",
      event("ADDED", "a", "3"),
      initialEnd("5"),
      event("MODIFIED", "a", "6"),
      event("ADDED", "b", "7"),
    ),
  );
  await using client = connectKube(server.access);
  await using informer = createInformer<ApiObject>(client, { resource: pods });
  const [late, gone]: [string[], string[]] = [[], []];
  let isAdded = false;
  const leave = informer.onChange(({ type, key, object }) => {
    gone.push(`${type} ${key} ${object.metadata.resourceVersion}`);
    if (isAdded) return;
    isAdded = true;
    // In the middle of a telling, with more waiting to be told.
    informer.onChange((change) => late.push(`${change.type} ${change.key} ${change.object.metadata.resourceVersion}`));
    leave();
  });
  await informer.start().synced();
  await until(() => informer.size === 2 && late.length >= 2);
  assert.deepEqual(gone, ["added a 3"]);
  const last = new Map(late.map((line) => [line.split(" ")[1], line.split(" ")[2]]));
  assert.deepEqual(
    last,
    new Map([
      ["a", "6"],
      ["b", "7"],
    ]),
  );
  assert.equal(late.filter((line) => line.startsWith("added")).length, 2);
});

test("Informer goes on past a listener that throws, and says so", async () => {
  await using server = await ScriptServer.start(
    answerStream(
      "stay",
      event("ADDED", "a", "3"),
      event("ADDED", "b", "4"),
      initialEnd("5"),
      event("MODIFIED", "b", "6"),
    ),
  );
  await using client = connectKube(server.access);
  const faults: string[] = [];
  await using informer = createInformer<ApiObject>(client, {
    resource: pods,
    onFault: ({ message }) => faults.push(message),
  });
  informer.onChange(({ key }) => {
    if (key === "a") throw new Error("no ear");
  });
  const told: string[] = [];
  informer.onChange(({ type, key }) => told.push(`${type} ${key}`));
  await informer.start().synced();
  await until(() => told.length === 3);
  assert.deepEqual(told, ["added a", "added b", "updated b"]);
  assert.deepEqual(faults, ["follow pods: a was not taken in: no ear; report it with the object"]);
});

test("Informer follows the others of an object that it cannot read, and keeps what was read of it", async () => {
  const list = (...lines: readonly string[]): string[] => [...lines, initialEnd("5")];
  await using server = await ScriptServer.start(
    answerStream(
      "break",
      ...list(event("ADDED", "a", "3"), event("ADDED", "b", "4"), event("ADDED", "never", "5")),
      event("MODIFIED", "a", "6"),
      event("MODIFIED", "b", "7"),
      event("ADDED", "never", "8"),
      event("MODIFIED", "b", "9"),
    ),
    answerStream("stay", event("DELETED", "a", "10"), event("DELETED", "never", "11"), event("MODIFIED", "b", "12")),
  );
  await using client = connectKube(server.access);
  const faults: string[] = [];
  await using informer = createInformer<ApiObject & { readonly seen?: string | undefined }>(client, {
    resource: pods,
    policy: quick,
    transform: (object) => {
      const { name, resourceVersion = "" } = object.metadata;
      if (name === "never" || (name === "a" && Number(resourceVersion) > 5)) throw new Error("other form");
      return { ...object, seen: resourceVersion };
    },
    onFault: ({ message }) => faults.push(message),
  });
  const told: string[] = [];
  informer.onChange(({ type, key, object }) => told.push(`${type} ${key} ${object.seen}`));
  await informer.start().synced();
  await until(() => told.at(-1) === "updated b 12");
  assert.deepEqual(told, [
    "added a 3",
    "added b 4",
    "updated a 3",
    "updated b 7",
    "updated b 9",
    "deleted a 3",
    "updated b 12",
  ]);
  assert.match(faults[0] ?? "", /^read Pod never: other form; report it with the object$/);
  assert.match(faults[1] ?? "", /^read Pod a: other form/);
});

test("Informer keeps of a list what it cannot read of it as it was", async () => {
  const items = (version: string) =>
    ["a", "b"].map((name) => ({ metadata: { name, uid: name, resourceVersion: version } }));
  await using server = await ScriptServer.start(
    answerJson({ kind: "PodList", apiVersion: "v1", metadata: { resourceVersion: "5" }, items: items("5") }),
    answerJson({ reason: "Expired", code: 410, message: "too old" }, 410),
    answerJson({ kind: "PodList", apiVersion: "v1", metadata: { resourceVersion: "9" }, items: items("9") }),
    answerStream("stay"),
  );
  await using client = connectKube(server.access);
  await using informer = createInformer<ApiObject & { readonly seen?: string | undefined }>(client, {
    resource: pods,
    policy: { ...quick, usesWatchList: false },
    transform: (object) => {
      const { name, resourceVersion } = object.metadata;
      if (name === "a" && resourceVersion === "9") throw new Error("other form");
      return { ...object, seen: resourceVersion };
    },
  });
  await informer.start().synced();
  await until(() => server.asked.length === 4);
  assert.deepEqual(
    informer.list().map(({ metadata, seen }) => `${metadata.name} ${seen}`),
    ["a 5", "b 9"],
  );
});

test("Informer stops while it waits for its first list, and says so to who waits too", async () => {
  await using server = await ScriptServer.start(() => undefined);
  await using client = connectKube(server.access);
  const informer = createInformer(client, { resource: pods }).start();
  await assert.rejects(informer.synced(AbortSignal.timeout(20)), { name: "TimeoutError" });
  const synced = informer.synced();
  await informer.stop();
  await assert.rejects(synced, /follow pods: stopped before the first list/);
});
