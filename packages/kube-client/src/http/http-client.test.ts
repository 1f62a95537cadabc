import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { ApiError } from "@bpfleet/kube";
import { ConnectProxy } from "../testing/connect-proxy.ts";
import { ScriptServer, answerJson } from "../testing/script-server.ts";
import type { Answerer } from "../testing/script-server.ts";
import type { Credentials } from "./access.ts";
import { connectKube } from "./http-client.ts";

const pods = { group: "", version: "v1", plural: "pods", namespace: "default" };
const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "a", namespace: "default" } };

async function refusalBy(answerer: Answerer, timeoutMs = 5000): Promise<ApiError> {
  await using server = await ScriptServer.start(answerer);
  await using client = connectKube(server.access);
  const error = await client.get({ ...pods, name: "a" }, { timeoutMs }).catch((cause: unknown) => cause);
  assert.ok(error instanceof ApiError, String(error));
  return error;
}

test("KubeClient writes with the query and the body that the API wants", async () => {
  const bodies: unknown[] = [];
  const echo: Answerer = (request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (part: string) => (text += part));
    request.on("end", () => {
      bodies.push([request.headers["content-type"], text === "" ? undefined : JSON.parse(text)]);
      answerJson(pod)(request, response);
    });
  };
  await using server = await ScriptServer.start(echo);
  await using client = connectKube(server.access);
  await client.create(pods, pod, { isDryRun: true, fieldValidation: "Strict" });
  await client.apply(pods, pod, { fieldManager: "me", isForced: true });
  await client.applyStatus(pods, pod, { fieldManager: "me" });
  await client.updateStatus(pods, pod);
  await client.patch({ ...pods, name: "a" }, [], { type: "json" });
  await client.delete(
    { ...pods, name: "a" },
    { propagation: "Foreground", graceSeconds: 0, preconditions: { uid: "u" } },
  );
  await client.deleteCollection(pods, { labelSelector: "a in (b,c)" });
  const path = "/api/v1/namespaces/default/pods";
  assert.deepEqual(server.asked, [
    `POST ${path}?dryRun=All&fieldValidation=Strict`,
    `PATCH ${path}/a?fieldManager=me&force=true`,
    `PATCH ${path}/a/status?fieldManager=me`,
    `PUT ${path}/a/status`,
    `PATCH ${path}/a`,
    `DELETE ${path}/a`,
    `DELETE ${path}?labelSelector=a+in+%28b%2Cc%29`,
  ]);
  const options = { apiVersion: "v1", kind: "DeleteOptions" };
  assert.deepEqual(bodies, [
    ["application/json", pod],
    ["application/apply-patch+yaml", pod],
    ["application/apply-patch+yaml", pod],
    ["application/json", pod],
    ["application/json-patch+json", []],
    [
      "application/json",
      { ...options, propagationPolicy: "Foreground", gracePeriodSeconds: 0, preconditions: { uid: "u" } },
    ],
    ["application/json", options],
  ]);
});

test("KubeClient: an urgent call waits behind no others, however many have no answer", async () => {
  const held = new Set<ServerResponse>();
  const hold: Answerer = (request, response) => {
    if (request.url?.endsWith("/a") === true) held.add(response);
    else answerJson(pod)(request, response);
  };
  await using server = await ScriptServer.start(hold);
  await using client = connectKube(server.access);
  const others = Array.from({ length: 20 }, () => client.get({ ...pods, name: "a" }).catch(() => undefined));
  await client.get({ ...pods, name: "b" }, { timeoutMs: 5000, isUrgent: true });
  await assert.rejects(client.get({ ...pods, name: "b" }, { timeoutMs: 500 }), /no answer within 0.5 s/);
  assert.ok(held.size > 0 && held.size < others.length, `${held.size} asked`);
});

test("KubeClient reads packed lists, and names the items of built-in kinds", async () => {
  const items = Array.from({ length: 3000 }, (_, index) => ({ metadata: { name: `n${index}` } }));
  const list = { kind: "PodList", apiVersion: "v1", metadata: { resourceVersion: "9", continue: "T" }, items };
  await using server = await ScriptServer.start((_request, response) => {
    response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" });
    response.end(gzipSync(JSON.stringify(list)));
  });
  await using client = connectKube(server.access);
  const answer = await client.list(pods);
  assert.equal(answer.items.length, 3000);
  assert.deepEqual(answer.items[2999], { apiVersion: "v1", kind: "Pod", metadata: { name: "n2999" } });
  assert.equal(answer.resourceVersion, "9");
  assert.equal(answer.next, "T");
});

test("KubeClient takes a list that breaks off, or is none, for a failure", async () => {
  const cut =
    (text: string, isBroken: boolean): Answerer =>
    (_request, response) => {
      response.writeHead(200, {
        "content-type": "application/json",
        ...(isBroken ? { "content-length": "5000" } : {}),
      });
      response.write(text);
      if (isBroken) setTimeout(() => response.destroy(), 20);
      else response.end();
    };
  const begin = '{"kind":"PodList","metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a"}},';
  for (const answerer of [cut(begin, true), cut(begin, false), cut("<html>", false)]) {
    await using server = await ScriptServer.start(answerer);
    await using client = connectKube(server.access);
    const error = await client.list(pods).catch((cause: unknown) => cause);
    assert.ok(error instanceof ApiError, String(error));
    assert.match(error.message, /^list pods in default: the answer broke off or cannot be read/);
    assert.equal(error.retry, "backoff");
  }
});

test("KubeClient says what the server said, field by field, and what helps", async () => {
  const details = { causes: [{ reason: "FieldValueInvalid", field: "spec.ports[0]", message: "must be 1-65535" }] };
  const status = {
    kind: "Status",
    reason: "Invalid",
    code: 422,
    message: 'Pod "a" is invalid:\n  spec.ports[0]: 0',
    details,
  };
  const invalid = await refusalBy(answerJson(status, 422));
  assert.equal(invalid.message, 'get pods default/a: Pod "a" is invalid: spec.ports[0]: 0 (422)');
  assert.deepEqual(invalid.causes, [
    { field: "spec.ports[0]", reason: "FieldValueInvalid", message: "must be 1-65535" },
  ]);
  assert.equal(invalid.retry, "never");
  const busy = await refusalBy(answerJson({}, 429, { "retry-after": "7" }));
  assert.equal(busy.retryAfterMs, 7000);
  assert.equal(busy.retry, "backoff");
  const plain = await refusalBy((_request, response) => response.writeHead(503).end("upstream is down"));
  assert.equal(plain.message, "get pods default/a: ServiceUnavailable (503)");
  assert.equal(plain.detail, "upstream is down");
  const forbidden = await refusalBy(answerJson({ reason: "Forbidden", message: "pods is forbidden", code: 403 }, 403));
  assert.match(forbidden.message, /\(403\); grant it by a Role or ClusterRole$/);
});

test("KubeClient gives up a server that does not answer in time, and one that is not there", async () => {
  const late = await refusalBy(() => undefined, 100);
  assert.match(late.message, /^get pods default\/a: no answer within 0\.1 s from http:/);
  assert.equal(late.retry, "backoff");
  const server = await ScriptServer.start(answerJson({}));
  await using client = connectKube(server.access);
  await server[Symbol.asyncDispose]();
  await assert.rejects(client.get({ ...pods, name: "a" }), /^ApiError: get pods default\/a: connect ECONNREFUSED 127/);
});

test("KubeClient throws the reason of its signal", async () => {
  await using server = await ScriptServer.start(() => undefined);
  await using client = connectKube(server.access);
  const signal = AbortSignal.timeout(30);
  await assert.rejects(client.get({ ...pods, name: "a" }, { signal }), { name: "TimeoutError" });
  await assert.rejects(client.list(pods, { signal }), { name: "TimeoutError" });
});

test("KubeClient asks again once with renewed credentials after a 401, and not with the same ones", async () => {
  const check: Answerer = (request, response) =>
    request.headers["authorization"] === "Bearer new"
      ? answerJson(pod)(request, response)
      : answerJson({ message: "Unauthorized", reason: "Unauthorized", code: 401 }, 401)(request, response);
  await using server = await ScriptServer.start(check);
  let token = "old";
  let next = "new";
  const credentials: Credentials = {
    current: async () => ({ authorization: `Bearer ${token}` }),
    renew: async () => void (token = next),
  };
  await using client = connectKube({ ...server.access, credentials });
  assert.deepEqual(await client.get({ ...pods, name: "a" }), pod);
  assert.equal(server.asked.length, 2);
  [token, next] = ["old", "old"];
  await assert.rejects(client.get({ ...pods, name: "a" }), { status: 401, code: "api-unauthorized" });
  assert.equal(server.asked.length, 3);
});

test("KubeClient waits when the server is busy and says for how long, within its patience", async () => {
  const busy = answerJson({}, 429, { "retry-after": "1" });
  await using server = await ScriptServer.start(busy, answerJson(pod));
  await using client = connectKube(server.access);
  const begin = performance.now();
  assert.deepEqual(await client.create(pods, pod), pod);
  assert.ok(performance.now() - begin >= 990);
  await using always = await ScriptServer.start(busy);
  await using refused = connectKube(always.access);
  await assert.rejects(refused.create(pods, pod, { timeoutMs: 900 }), { status: 429, retryAfterMs: 1000 });
  assert.equal(always.asked.length, 1);
});

test("KubeClient reads again over a new connection when the old one broke, and writes nothing twice", async () => {
  const breaks: Answerer = (request) => request.socket.resetAndDestroy();
  await using server = await ScriptServer.start(breaks, answerJson(pod), breaks);
  await using client = connectKube(server.access);
  assert.deepEqual(await client.get({ ...pods, name: "a" }), pod);
  await assert.rejects(client.create(pods, pod), { name: "ApiError", status: 0, retry: "backoff" });
  assert.equal(server.asked.length, 3);
  await assert.rejects(client.get({ ...pods, name: "a" }), { status: 0 });
  assert.equal(server.asked.length, 6);
});

test("KubeClient goes through the proxy that the kubeconfig names", async () => {
  await using server = await ScriptServer.start(answerJson(pod));
  await using proxy = await ConnectProxy.start();
  await using client = connectKube({ ...server.access, proxyUrl: proxy.url });
  assert.deepEqual(await client.get({ ...pods, name: "a" }), pod);
  assert.deepEqual(proxy.tunnels, [new URL(server.access.server).host]);
  await using cut = connectKube({ ...server.access, proxyUrl: "http://127.0.0.1:1" });
  await assert.rejects(cut.get({ ...pods, name: "a" }), /^ApiError: get pods default\/a: .*ECONNREFUSED/);
});

test("KubeClient refuses calls after it was disposed of", async () => {
  await using server = await ScriptServer.start(answerJson(pod));
  const client = connectKube(server.access);
  await client.get({ ...pods, name: "a" });
  await client[Symbol.asyncDispose]();
  await assert.rejects(client.get({ ...pods, name: "a" }), /this client was disposed of/);
});
