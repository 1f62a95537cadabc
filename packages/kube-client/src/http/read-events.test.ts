import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApiObject } from "@bpfleet/kube";
import type { EventQuery } from "../kube-client.ts";
import { ScriptServer, answerJson, answerStream } from "../testing/script-server.ts";
import type { Answerer } from "../testing/script-server.ts";
import { connectKube } from "./http-client.ts";

const pods = { group: "", version: "v1", plural: "pods" };
const line = (name: string, type = "ADDED"): string =>
  `${JSON.stringify({ type, object: { kind: "Pod", metadata: { name, resourceVersion: "1" } } })}\n`;

async function read(answerer: Answerer, more: Partial<EventQuery<ApiObject>> = {}) {
  await using server = await ScriptServer.start(answerer);
  await using client = connectKube(server.access);
  const names: string[] = [];
  const onEvent = (_type: string, object: ApiObject): boolean => {
    names.push(object.metadata.name);
    return object.metadata.name !== "last";
  };
  const end = await client
    .readEvents(pods, { query: {}, silenceMs: 5000, onEvent, ...more })
    .catch((error: Error) => error);
  return { end, names };
}

test("readEvents tells the events of a stream, however they are cut, and that the server ended it", async () => {
  const whole = `${line("a")}${line("ü")}${line("c")}`;
  const half = Buffer.from(whole).subarray(0, 40).toString();
  const { end, names } = await read(answerStream("end", half, whole.slice(half.length)));
  assert.deepEqual(names, ["a", "ü", "c"]);
  assert.equal(end, "server");
});

test("readEvents knows a stream that broke, also where the server ended it in the middle of an event", async () => {
  assert.equal((await read(answerStream("break", line("a")))).end, "cut");
  const { end, names } = await read(answerStream("end", line("a"), line("b").slice(0, 20)));
  assert.deepEqual(names, ["a"]);
  assert.equal(end, "cut");
});

test("readEvents knows what cannot be understood, and goes no further", async () => {
  for (const bad of ["{]\n", "12\n", "null\n", '{"type":1,"object":{}}\n', '{"type":"ADDED"}\n']) {
    const { end, names } = await read(answerStream("end", line("a"), bad, line("b")));
    assert.deepEqual(names, ["a"]);
    assert.equal(end, "garbage", bad);
  }
});

test("readEvents gives up a connection on which nothing comes any more", async () => {
  const begin = performance.now();
  const { end, names } = await read(answerStream("stay", line("a")), { silenceMs: 300 });
  assert.deepEqual(names, ["a"]);
  assert.equal(end, "silence");
  assert.ok(performance.now() - begin >= 300);
  assert.equal((await read(() => undefined, { silenceMs: 300 })).end, "silence");
});

test("readEvents ends when the reader wants no more, and when its signal says so", async () => {
  const { end, names } = await read(answerStream("stay", line("a"), line("last"), line("b")));
  assert.deepEqual(names, ["a", "last"]);
  assert.equal(end, "unwanted");
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 50);
  const stopped = await read(answerStream("stay", line("a")), { signal: stop.signal });
  assert.ok(stopped.end instanceof DOMException && stopped.end.name === "AbortError", String(stopped.end));
});

test("readEvents throws what the server refuses, by status and by an event of type ERROR", async () => {
  const gone = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version: 1 (9)" };
  for (const answerer of [
    answerJson(gone, 410),
    answerStream("stay", `${JSON.stringify({ type: "ERROR", object: gone })}\n`),
  ]) {
    const { end } = await read(answerer);
    assert.ok(end instanceof Error);
    assert.equal(end.message, "watch pods: too old resource version: 1 (9) (410)");
  }
});
