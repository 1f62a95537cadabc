import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createSecureServer, type Http2SecureServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { TempFolder } from "../testing/temp-folder.ts";
import { fixedCredentials, type ClusterAccess } from "./access.ts";
import { connectKube } from "./http-client.ts";

const leases = { group: "coordination.k8s.io", version: "v1", plural: "leases", namespace: "default" };
const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "a" } };

/** Speaks both versions; takes no byte of a body by HTTP/2 before it is asked to. */
async function startServer(folder: TempFolder): Promise<Http2SecureServer> {
  const [key, cert] = [join(folder.path, "key.pem"), join(folder.path, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  execFileSync("openssl", ["req", "-x509", ...subject, "-keyout", key, "-out", cert], { stdio: "ignore" });
  const server = createSecureServer({
    key: readFileSync(key),
    cert: readFileSync(cert),
    allowHTTP1: true,
    settings: { initialWindowSize: 0 },
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

test("KubeClient sends what has a body by HTTP/1.1, where it can be given up, and follows by HTTP/2", async () => {
  using folder = new TempFolder();
  const server = await startServer(folder);
  using _closing = { [Symbol.dispose]: () => server.close() };
  const seen: string[] = [];
  const giveUp = new AbortController();
  server.on("request", (request, response) => {
    seen.push(`${request.method} ${request.httpVersion}`);
    if (request.method === "GET") response.writeHead(200, { "content-type": "application/json" }).end("");
    else giveUp.abort(new Error("given up"));
  });
  const access: ClusterAccess = {
    server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    namespace: "default",
    tls: { isInsecure: true },
    credentials: fixedCredentials({}),
  };
  await using client = connectKube(access);
  await assert.rejects(client.create(leases, lease, { signal: giveUp.signal }), /given up/);
  const before = process.memoryUsage.rss();
  const query = { query: {}, silenceMs: 10_000, onEvent: () => true };
  assert.equal(await client.readEvents(leases, query), "server");
  assert.deepEqual(seen, ["POST 1.1", "GET 2.0"]);
  assert.ok(process.memoryUsage.rss() - before < 256 * 1024 ** 2);
});
