import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { digestOf } from "../digest.ts";
import { parseReference } from "../reference.ts";
import { ForwardProxy } from "../testing/forward-proxy.ts";
import { credentialsFor, RegistryBench } from "../testing/registry-bench.ts";
import { proxyFor, readProxies, type Proxies } from "./proxies.ts";
import { RegistryClient } from "./registry-client.ts";

const blob = Buffer.from("the bytes that were asked for");
const descriptor = { mediaType: "x", digest: digestOf(blob), size: blob.length, annotations: {} };

test("readProxies reads the usual variables, small letters first, and refuses what is no URL without showing it", () => {
  assert.equal(readProxies({}), undefined);
  assert.equal(readProxies({ HTTPS_PROXY: "", NO_PROXY: "x" }), undefined);
  assert.deepEqual(
    readProxies({
      HTTP_PROXY: "proxy:3128",
      https_proxy: "http://b:1",
      HTTPS_PROXY: "http://c:1",
      NO_PROXY: "x, .y z",
    }),
    { http: "http://proxy:3128/", https: "http://b:1/", except: ["x", ".y", "z"] },
  );
  for (const text of ["socks5://u:secret@p:1", "http://", "http://u:secret@p:notaport"])
    assert.throws(
      () => readProxies({ HTTPS_PROXY: text }),
      (error: Error) =>
        error.message.startsWith("read HTTPS_PROXY: it is not the URL") && !/secret/.test(error.message),
    );
});

test("proxyFor knows names, what is below them, addresses, networks, ports and this machine", () => {
  const proxies = (...except: readonly string[]): Proxies => ({ http: "http://a/", https: "http://b/", except });
  const isBy = (url: string, ...except: readonly string[]): boolean =>
    proxyFor(new URL(url), proxies(...except)) !== undefined;
  assert.equal(proxyFor(new URL("http://quay.io"), proxies()), "http://a/");
  assert.equal(proxyFor(new URL("https://quay.io"), proxies()), "http://b/");
  assert.equal(proxyFor(new URL("https://quay.io"), { ...proxies(), https: undefined }), undefined);
  for (const url of ["https://localhost", "https://127.0.0.1:5000", "https://[::1]/"])
    assert.equal(isBy(url), false, url);
  const straight: readonly (readonly [string, string])[] = [
    ["https://quay.io", "*"],
    ["https://quay.io", "quay.io"],
    ["https://QUAY.io.", "Quay.IO"],
    ["https://cdn.quay.io", "quay.io"],
    ["https://cdn.quay.io", ".quay.io"],
    ["https://cdn.quay.io", "*.quay.io"],
    ["https://quay.io:5000", "quay.io:5000"],
    ["https://quay.io", "quay.io:443"],
    ["https://10.1.2.3", "10.0.0.0/8"],
    ["https://10.1.2.3", "10.1.2.3"],
    ["https://[fd00::7]", "fd00::/8"],
    ["https://[fd00::7]:8443", "[fd00::7]:8443"],
    ["https://[fd00::7]", "fd00::7"],
  ];
  for (const [url, except] of straight) assert.equal(isBy(url, except), false, `${url} ${except}`);
  const byProxy: readonly (readonly [string, string])[] = [
    ["https://quay.io", ".quay.io"],
    ["https://quay.io", "*.quay.io"],
    ["https://notquay.io", "quay.io"],
    ["https://quay.io", "quay.io:5000"],
    ["https://11.1.2.3", "10.0.0.0/8"],
    ["https://10.1.2.3", "10.0.0.0/99"],
    ["https://10.1.2.3", "2.3"],
    ["https://quay.io", "10.0.0.0/8"],
    ["https://quay.io", "."],
  ];
  for (const [url, except] of byProxy) assert.equal(isBy(url, except), true, `${url} ${except}`);
});

test("RegistryClient pulls by a proxy: registry, token server and storage, each by its certificate", async () => {
  using bench = new RegistryBench();
  const seen: string[] = [];
  await using server = await bench.serve((request, response) => {
    const { host, authorization, "proxy-authorization": leaked } = request.headers;
    seen.push(`${request.method} ${host} ${authorization?.split(" ")[0] ?? "-"} ${leaked ?? "-"}`);
    if (request.url?.startsWith("/token") === true) return void response.end('{"token":"t"}');
    if (host === "storage.test") return void response.end(blob);
    if (authorization === undefined) {
      const challenge = 'Bearer realm="https://registry.test/token",service="x"';
      return void response.writeHead(401, { "www-authenticate": challenge }).end();
    }
    response.writeHead(307, { location: "https://storage.test/blob" }).end();
  });
  const hosts = { "registry.test": server.host, "storage.test": server.host };
  await using proxy = await ForwardProxy.start({ login: "me:pass", hosts });
  bench.mirror("quay.io", ["https://registry.test"]);
  const open = (env: Record<string, string>): Promise<RegistryClient> =>
    RegistryClient.open(parseReference("quay.io/a/b:latest"), "pull", {
      auth: credentialsFor("registry.test"),
      mirrors: bench.mirrors,
      proxies: readProxies(env),
      backoffMs: 5,
    });
  await using client = await open({ HTTPS_PROXY: `http://me:pass@${proxy.host}` });
  assert.deepEqual(Buffer.from(await client.fetchBlob(descriptor, 1000, "layer")), blob);
  assert.deepEqual([...new Set(proxy.asked)].toSorted(), ["CONNECT registry.test:443", "CONNECT storage.test:443"]);
  assert.deepEqual(seen, [
    "GET registry.test - -",
    "GET registry.test Basic -",
    "GET registry.test Bearer -",
    "GET storage.test - -",
  ]);

  await using refused = await open({ HTTPS_PROXY: `http://me:wrong@${proxy.host}` });
  await assert.rejects(
    refused.fetchBlob(descriptor, 1000, "layer"),
    (error: Error) =>
      error.message.includes(`from registry.test by the proxy ${proxy.host}: not reachable`) &&
      /407|Proxy Authentication/.test(error.message) &&
      !error.message.includes("wrong"),
  );
  await using around = await open({ HTTPS_PROXY: `http://${proxy.host}`, NO_PROXY: ".test" });
  const before = proxy.asked.length;
  await assert.rejects(around.fetchBlob(descriptor, 1000, "layer"), /from registry\.test: not reachable/);
  assert.equal(proxy.asked.length, before);
});

test("RegistryClient asks a registry without TLS by the proxy for http, and says when the proxy is not there", async () => {
  using bench = new RegistryBench();
  const plain = createServer((_, response) => response.end(blob));
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = plain.address() as AddressInfo;
    let gone: string;
    bench.mirror("quay.io", ["http://registry.test"]);
    {
      await using proxy = await ForwardProxy.start({ hosts: { "registry.test": `127.0.0.1:${port}` } });
      gone = proxy.host;
      const options = { mirrors: bench.mirrors, proxies: readProxies({ HTTP_PROXY: proxy.host }), backoffMs: 5 };
      await using client = await RegistryClient.open(parseReference("quay.io/a/b"), "pull", options);
      assert.deepEqual(Buffer.from(await client.fetchBlob(descriptor, 1000, "layer")), blob);
      assert.deepEqual(proxy.asked, [`GET http://registry.test/v2/a/b/blobs/${descriptor.digest}`]);
    }
    const options = { mirrors: bench.mirrors, proxies: readProxies({ HTTP_PROXY: gone }), backoffMs: 5 };
    await using client = await RegistryClient.open(parseReference("quay.io/a/b"), "pull", options);
    await assert.rejects(client.fetchBlob(descriptor, 1000, "layer"), {
      code: "registry-unreachable",
      message: new RegExp(`from registry\\.test by the proxy ${gone}: not reachable .*check HTTPS_PROXY and NO_PROXY`),
    });
  } finally {
    plain.close();
  }
});
