import assert from "node:assert/strict";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { serveHealth } from "./health-server.ts";

test("serveHealth answers whatever target is asked for, and cuts off whom its source has no answer for", async () => {
  await using server = await serveHealth(
    { host: "127.0.0.1", port: 0 },
    {
      whyUnhealthy: () => undefined,
      whyUnready: () => undefined,
      metrics: () => {
        throw new Error("not now");
      },
    },
  );
  const ask = async (target: string): Promise<string> => {
    const socket = connect(server.port, "127.0.0.1");
    socket.end(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    return (await text(socket)).split("\r\n")[0]!;
  };
  for (const target of ["//", "http://[", "*"]) assert.equal(await ask(target), "HTTP/1.1 404 Not Found", target);
  assert.equal(await ask("/metrics"), "");
  assert.equal(await ask("/healthz?verbose"), "HTTP/1.1 200 OK");
});
