import assert from "node:assert/strict";
import type { X509Certificate } from "node:crypto";
import { request as httpsRequest, Agent, type RequestOptions } from "node:https";
import { after, before, test } from "node:test";
import { issueCertificate, makeAuthority, type Authority, type KeyPair } from "../certificates/authority.ts";
import { webhookHosts } from "./webhook-objects.ts";
import { serveWebhook, type WebhookServer } from "./webhook-server.ts";

const lifetime = { at: Date.now(), days: 5 };
const faults: unknown[] = [];
let authority: Authority;
let server: WebhookServer;

function issue(by: Authority): Promise<KeyPair> {
  return issueCertificate(by, { commonName: "webhook", dnsNames: webhookHosts, usages: ["server"] }, lifetime);
}

before(async () => {
  authority = await makeAuthority("test", lifetime);
  server = await serveWebhook({
    host: "127.0.0.1",
    port: 0,
    certificate: await issue(authority),
    answer: (review) => {
      if (review === "fail") throw new RangeError("as asked");
      return review === "no" ? "no review" : { seen: review };
    },
    onFault: (error) => faults.push(error),
  });
});

after(() => server[Symbol.asyncDispose]());

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly fingerprint: string | undefined;
}

function ask(path: string, body: string | Buffer | undefined, options: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      {
        host: "127.0.0.1",
        servername: webhookHosts[0],
        port: server.port,
        path,
        ca: authority.certificate,
        method: "POST",
        headers: { "content-type": "application/json" },
        ...options,
      },
      (incoming) => {
        // A session that is taken up again shows none.
        const socket = incoming.socket as unknown as { getPeerX509Certificate(): X509Certificate | undefined };
        const fingerprint = socket.getPeerX509Certificate()?.fingerprint256;
        let text = "";
        incoming.setEncoding("utf8").on("data", (part: string) => (text += part));
        incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, text, fingerprint }));
        incoming.on("error", reject);
      },
    );
    outgoing.on("error", reject).end(body);
  });
}

async function until(isSo: () => boolean): Promise<void> {
  for (const end = performance.now() + 30_000; !isSo(); await new Promise((resolve) => setTimeout(resolve, 5)))
    assert.ok(performance.now() < end, "it does not come to it");
}

test("serveWebhook answers reviews, and says it is well", async () => {
  const { status, text } = await ask("/validate?timeout=5s", '{"a":1}');
  assert.deepEqual([status, text], [200, '{"seen":{"a":1}}']);
  assert.deepEqual((await ask("/healthz", undefined, { method: "GET" })).text, "ok");
});

test("serveWebhook refuses what is no review, and lives on", async () => {
  const statusOf = async (...args: Parameters<typeof ask>): Promise<number> => (await ask(...args)).status;
  assert.equal(await statusOf("/", "{}"), 404);
  assert.equal(await statusOf("//", "{}"), 404);
  assert.equal(await statusOf("/validate", undefined, { method: "GET" }), 405);
  assert.equal(await statusOf("/validate", "{}", { headers: { "content-type": "text/plain" } }), 415);
  assert.equal(await statusOf("/validate", "{"), 400);
  assert.equal(await statusOf("/validate", '"no"'), 400);
  assert.equal(await statusOf("/validate", '"fail"'), 500);
  assert.match(String(faults.pop()), /as asked/);
  const long = Buffer.alloc(17 * 1024 * 1024, 32);
  const told = { "content-type": "application/json", "content-length": String(long.length) };
  assert.equal(await statusOf("/validate", undefined, { headers: told }).catch(() => 413), 413);
  const chunked = { "content-type": "application/json", "transfer-encoding": "chunked" };
  // The answer may be lost when the server ends the connection amid the body.
  assert.equal(await statusOf("/validate", long, { headers: chunked }).catch(() => 413), 413);
  assert.equal(await statusOf("/validate", "{}"), 200);
});

test("serveWebhook takes another certificate without one failed call", async () => {
  const [next, trusted] = [await makeAuthority("next", lifetime), authority.certificate];
  const ca = `${trusted}${next.certificate}`;
  using agent = Object.assign(new Agent({ keepAlive: true, maxSockets: 4, ca }), {
    [Symbol.dispose](this: Agent) {
      this.destroy();
    },
  });
  const seen = new Set<string>();
  let asked = 0;
  const done = new AbortController();
  const load = Array.from({ length: 4 }, async () => {
    while (!done.signal.aborted) {
      // Every other call makes a connection of its own.
      const { status, fingerprint } = await ask(
        "/validate",
        "{}",
        asked++ % 2 === 0 ? { agent } : { agent: false, ca },
      );
      assert.equal(status, 200);
      if (fingerprint !== undefined) seen.add(fingerprint);
    }
  });
  for (let round = 0; round < 5; round++) {
    server.useCertificate(await issue(round % 2 === 0 ? next : authority));
    const before = seen.size;
    await Promise.race([Promise.all(load), until(() => seen.size > before)]);
  }
  done.abort();
  await Promise.all(load);
  assert.ok(seen.size >= 5 && asked > 20, `${seen.size} certificates in ${asked} calls`);
  assert.throws(() => server.useCertificate({ certificate: "x", key: "y" }));
  assert.equal((await ask("/healthz", undefined, { ca })).status, 200);
});
