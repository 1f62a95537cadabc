import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { digestOf } from "../digest.ts";
import { mediaTypes } from "../image/manifest.ts";
import { parseReference } from "../reference.ts";
import { credentialsFor, openClient, RegistryBench } from "../testing/registry-bench.ts";
import type { ScriptedServer } from "../testing/registry-bench.ts";
import { noCredentials } from "./credentials.ts";
import type { FetchProgress } from "../fetch-request.ts";
import { RegistryClient } from "./registry-client.ts";

const name = "quay.io/a/b:latest";
const blob = Buffer.from("the bytes that were asked for");
const descriptor = { mediaType: "x", digest: digestOf(blob), size: blob.length, annotations: {} };

/** A bench whose quay.io is a server that answers as told; every request's method, path and authorization are kept. */
async function withServer(
  answer: (request: IncomingMessage, response: ServerResponse, server: ScriptedServer) => void,
  run: (client: RegistryClient, seen: string[], server: ScriptedServer, bench: RegistryBench) => Promise<void>,
): Promise<void> {
  using bench = new RegistryBench();
  const seen: string[] = [];
  await using server: ScriptedServer = await bench.serve((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? "-"}`);
    answer(request, response, server);
  });
  bench.mirror("quay.io", [`https://${server.host}`]);
  await using client = await openClient(name, "pull", bench, credentialsFor(server.host));
  await run(client, seen, server, bench);
}

const fetchBlob = (client: RegistryClient) => client.fetchBlob(descriptor, 1000, "layer");
const basic = `Basic ${Buffer.from("puller:opensesame").toString("base64")}`;

test("RegistryClient refuses a blob with any byte changed, cut off or added", async () => {
  const flipped = Buffer.from(blob);
  flipped[3] = (flipped[3] ?? 0) ^ 1;
  for (const bytes of [flipped, blob.subarray(0, -1), Buffer.concat([blob, Buffer.from("!")]), Buffer.alloc(0)])
    await withServer(
      (_, response) => response.end(bytes),
      async (client) => {
        await assert.rejects(fetchBlob(client), {
          code: "digest-mismatch",
          message: /^check layer sha256:.* of quay\.io\/a\/b: its digest is sha256:.*, not sha256:/,
        });
      },
    );
});

test("RegistryClient refuses a manifest that is not what its digest or the registry's own header says", async () => {
  await withServer(
    (_, response) => response.setHeader("docker-content-digest", descriptor.digest).end("{}"),
    async (client) => {
      await assert.rejects(client.fetchManifest("latest"), { code: "digest-mismatch" });
      await assert.rejects(client.fetchManifest(descriptor.digest), { code: "digest-mismatch" });
    },
  );
});

test("RegistryClient stops reading what is larger than it should be", async () => {
  let sent = 0;
  await withServer(
    (_, response) => {
      const chunk = Buffer.alloc(65_536);
      const more = () => {
        while (sent < 64 * 1024 * 1024 && response.write(chunk)) sent += chunk.length;
        response.once("drain", more);
      };
      more();
    },
    async (client) => {
      await assert.rejects(fetchBlob(client), {
        code: "too-big",
        message: /it has more than the 4096 bytes that are allowed; check that it is a bytecode image$/,
      });
      await assert.rejects(client.fetchBlob({ ...descriptor, size: 2000 }, 1000, "layer"), {
        code: "too-big",
        message: /it has 2000 bytes, 1000 are allowed; a bytecode image holds one object and nothing else$/,
      });
    },
  );
  assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes were read`);
});

test("RegistryClient shows its password only when asked, and only to the host that it is for", async () => {
  using other = new RegistryBench();
  const elsewhere: string[] = [];
  await using storage = await other.serve((request, response) => {
    elsewhere.push(
      `${request.url} ${request.headers.authorization ?? "-"} ${String(request.headers["x-team"] ?? "-")}`,
    );
    response.end(blob);
  });
  await withServer(
    (request, response) => {
      if (request.headers.authorization === undefined)
        response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      else response.writeHead(307, { location: `https://${storage.host}/signed?x=1` }).end();
    },
    async (_client, seen, server, bench) => {
      // Both certificates are trusted, so that the redirect is followed.
      const { readFileSync, writeFileSync } = await import("node:fs");
      const both = `${bench.directory}/both.crt`;
      writeFileSync(both, readFileSync(bench.tls.cert, "utf8") + readFileSync(other.tls.cert, "utf8"));
      const hosts = `server = "https://${server.host}"\nca = "${both}"\n[header]\nx-team = "a"\n`;
      writeFileSync(`${bench.mirrors}/quay.io/hosts.toml`, hosts);
      await using client = await openClient(name, "pull", bench, credentialsFor(server.host));
      assert.deepEqual(Buffer.from(await fetchBlob(client)), blob);
      const path = `/v2/a/b/blobs/${descriptor.digest}`;
      assert.deepEqual(seen, [`GET ${path} -`, `GET ${path} ${basic}`]);
      assert.deepEqual(elsewhere, ["/signed?x=1 - -"]);
    },
  );
});

test("RegistryClient shows no password of another host to a mirror", async () => {
  await withServer(
    (_, response) => response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end(),
    async (_client, seen, server, bench) => {
      await using client = await openClient(name, "pull", bench, credentialsFor("quay.io"));
      await assert.rejects(fetchBlob(client), {
        code: "unauthorized",
        message: new RegExp(`give a pull secret for ${server.host}$`),
      });
      assert.ok(seen.every((line) => line.endsWith(" -")));
    },
  );
});

test("RegistryClient sends no password to a token server without TLS", async () => {
  await withServer(
    (_, response) =>
      response.writeHead(401, { "www-authenticate": 'Bearer realm="http://127.0.0.1:1/token",service="x"' }).end(),
    async (client) => {
      await assert.rejects(fetchBlob(client), {
        code: "registry-refused",
        message: /its token server 127\.0\.0\.1:1 is without TLS; no password is sent there/,
      });
    },
  );
});

test("RegistryClient follows no redirect from https to http, and no endless ones", async () => {
  await withServer(
    (_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end(),
    async (client) => {
      await assert.rejects(fetchBlob(client), {
        code: "registry-refused",
        message: /redirected from https to http:\/\/127\.0\.0\.1:1; that is not followed/,
      });
    },
  );
  await withServer(
    (request, response) => response.writeHead(302, { location: `${request.url}x` }).end(),
    async (client, seen) => {
      await assert.rejects(fetchBlob(client), { code: "registry-refused", message: /redirected too often/ });
      assert.equal(seen.length, 6);
    },
  );
});

test("RegistryClient tries again what may pass, and not what will not", async () => {
  const cases: [number, number][] = [
    [503, 3],
    [429, 3],
    [500, 3],
    [404, 1],
    [403, 1],
    [400, 1],
  ];
  for (const [status, requests] of cases) {
    let left = 2;
    await withServer(
      (_, response) => (left-- > 0 ? response.writeHead(status, { "retry-after": "0" }).end() : response.end(blob)),
      async (client, seen) => {
        if (requests === 3) assert.deepEqual(Buffer.from(await fetchBlob(client)), blob);
        else await assert.rejects(fetchBlob(client), { name: "ImageError" });
        assert.equal(seen.length, requests, `${status}`);
      },
    );
  }
});

test("RegistryClient tries again when the connection breaks off within an answer, and says so in the end", async () => {
  await withServer(
    (_, response) => {
      response.writeHead(200, { "content-length": "1000" }).write("half");
      setImmediate(() => response.destroy());
    },
    async (client, seen) => {
      await assert.rejects(fetchBlob(client), { code: "registry-unreachable", retry: "backoff" });
      assert.equal(seen.length, 4);
    },
  );
});

test("RegistryClient waits as long as Retry-After says, in seconds or as a date", async () => {
  for (const said of [() => "1", () => new Date(Date.now() + 2000).toUTCString()]) {
    let left = 1;
    await withServer(
      (_, response) => (left-- > 0 ? response.writeHead(429, { "retry-after": said() }).end() : response.end(blob)),
      async (client, seen) => {
        const begun = performance.now();
        assert.deepEqual(Buffer.from(await fetchBlob(client)), blob);
        const tookMs = performance.now() - begun;
        assert.equal(seen.length, 2);
        assert.ok(tookMs > 700 && tookMs < 6000, `${tookMs} ms`);
      },
    );
  }
});

test("RegistryClient gives up a registry that says nothing, and one that says it too slowly", async () => {
  using bench = new RegistryBench();
  await using silent = await bench.serve(() => undefined);
  await using slow = await bench.serve((_, response) => {
    response.writeHead(200);
    const dripping = setInterval(() => response.write("x"), 20);
    response.once("close", () => clearInterval(dripping));
  });
  for (const [server, patience, message] of [
    [silent, { silenceMs: 100 }, /not reachable \(UND_ERR_HEADERS_TIMEOUT\)/],
    [slow, { silenceMs: 5000, answerMs: 300 }, /the answer is not whole after 0\.3 s/],
  ] as const) {
    bench.mirror("quay.io", [`https://${server.host}`]);
    const options = { mirrors: bench.mirrors, backoffMs: 5, patience };
    await using client = await RegistryClient.open(parseReference(name), "pull", options);
    await assert.rejects(fetchBlob(client), { code: "registry-unreachable", retry: "backoff", message });
  }
});

test("RegistryClient tells how far an answer has come", async () => {
  using bench = new RegistryBench();
  await using stalling = await bench.serve((_, response) => {
    response.writeHead(200, { "content-length": blob.length });
    response.write(blob.subarray(0, 2));
  });
  bench.mirror("quay.io", [`https://${stalling.host}`]);
  const told: FetchProgress[] = [];
  const patience = { silenceMs: 5000, answerMs: 300 };
  const options = {
    mirrors: bench.mirrors,
    backoffMs: 5,
    patience,
    onProgress: (each: FetchProgress) => told.push(each),
  };
  await using client = await RegistryClient.open(parseReference(name), "pull", options);
  await assert.rejects(fetchBlob(client), { code: "registry-unreachable" });
  assert.deepEqual(told.slice(0, 2), [
    { bytes: 0, total: blob.length },
    { bytes: 2, total: blob.length },
  ]);
});

test("RegistryClient stops when it is told to", async () => {
  using bench = new RegistryBench();
  await using server = await bench.serve(() => undefined);
  bench.mirror("quay.io", [`https://${server.host}`]);
  const controller = new AbortController();
  await using client = await RegistryClient.open(parseReference(name), "pull", {
    mirrors: bench.mirrors,
    signal: controller.signal,
  });
  const asked = fetchBlob(client);
  void sleep(100).then(() => controller.abort());
  await assert.rejects(asked, { name: "AbortError" });
});

test("RegistryClient lists referrers by the API and by the tag, each once", async () => {
  const entry = (text: string) => ({ mediaType: mediaTypes.manifest, digest: digestOf(Buffer.from(text)), size: 1 });
  const index = (...manifests: object[]) => JSON.stringify({ schemaVersion: 2, manifests });
  await withServer(
    (request, response) => {
      const isApi = request.url?.includes("/referrers/") === true;
      response.end(isApi ? index(entry("a"), entry("b")) : index(entry("b"), entry("c")));
    },
    async (client) => {
      const found = await client.listReferrers(descriptor.digest);
      assert.deepEqual(
        found.map(({ digest }) => digest),
        ["a", "b", "c"].map((text) => digestOf(Buffer.from(text))),
      );
    },
  );
});

test("RegistryClient shows the client certificate that hosts.toml names", async () => {
  using bench = new RegistryBench();
  await using server = await bench.serve((_, response) => response.end(blob), true);
  const { cert, key } = bench.tls;
  bench.mirror("quay.io", [`https://${server.host}`], `client = [["${cert}", "${key}"]]`);
  await using client = await openClient(name, "pull", bench, noCredentials);
  assert.deepEqual(Buffer.from(await fetchBlob(client)), blob);
  bench.mirror("quay.io", [`https://${server.host}`]);
  await using without = await openClient(name, "pull", bench, noCredentials);
  await assert.rejects(fetchBlob(without), { name: "ImageError" });
});

test("RegistryClient takes any certificate where hosts.toml skips verification, and plain HTTP where it says so", async () => {
  using bench = new RegistryBench();
  using other = new RegistryBench();
  await using server = await other.serve((_, response) => response.end(blob));
  bench.mirror("quay.io", [`https://${server.host}`]);
  await using strict = await openClient(name, "pull", bench, noCredentials);
  await assert.rejects(fetchBlob(strict), { code: "certificate-untrusted" });
  bench.mirror("quay.io", [`https://${server.host}`], "skip_verify = true");
  await using lax = await openClient(name, "pull", bench, noCredentials);
  assert.deepEqual(Buffer.from(await fetchBlob(lax)), blob);

  const { createServer } = await import("node:http");
  const plain = createServer((_, response) => response.end(blob));
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
  try {
    bench.mirror("quay.io", [`http://127.0.0.1:${(plain.address() as { port: number }).port}`]);
    await using client = await openClient(name, "pull", bench, noCredentials);
    assert.deepEqual(Buffer.from(await fetchBlob(client)), blob);
  } finally {
    plain.close();
  }
});

test("RegistryClient says what an answer in plain HTTP and a wrong name in a certificate mean", async () => {
  const { createServer } = await import("node:http");
  const plain = createServer((_, response) => response.end("x"));
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
  const { port } = plain.address() as { port: number };
  try {
    using bench = new RegistryBench();
    bench.mirror("quay.io", [`https://127.0.0.1:${port}`]);
    await using client = await openClient(name, "pull", bench, noCredentials);
    await assert.rejects(fetchBlob(client), {
      code: "certificate-untrusted",
      message: /it speaks plain HTTP; write its URL with http:\/\//,
    });
    await using server = await bench.serve((_, response) => response.end(blob));
    bench.mirror("quay.io", [`https://127.0.0.2:${server.host.split(":")[1]}`]);
    await using other = await openClient(name, "pull", bench, noCredentials);
    await assert.rejects(fetchBlob(other), { name: "ImageError" });
  } finally {
    plain.close();
  }
});

test("RegistryClient keeps what a registry says to one printable line", async () => {
  const message = `\u001b[31mred\n${"x".repeat(5000)}`;
  await withServer(
    (_, response) => response.writeHead(400).end(JSON.stringify({ errors: [{ code: "BAD", message }] })),
    async (client) => {
      const error = await fetchBlob(client).catch((cause: unknown) => cause as Error);
      assert.ok(error instanceof Error);
      // oxlint-disable-next-line eslint/no-control-regex -- control characters are what it is about
      assert.doesNotMatch(error.message, /[\u0000-\u001f]/);
      assert.ok(error.message.length < 700);
    },
  );
});
