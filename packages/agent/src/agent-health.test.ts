import assert from "node:assert/strict";
import { test } from "node:test";
import { serveHealth } from "@bpfleet/kube-client";
import { AgentHealth } from "./agent-health.ts";

test("serveHealth answers probes by what the agent says of itself", async () => {
  const health = new AgentHealth("0.1.0", 1_700_000_000_000);
  await using server = await serveHealth({ host: "127.0.0.1", port: 0 }, health);
  const ask = async (path: string, method = "GET"): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
    return `${answer.status} ${await answer.text()}`;
  };
  assert.equal(await ask("/healthz"), "200 ok\n");
  assert.match(await ask("/readyz"), /^503 starting: the daemon was not reached yet/);
  let isConnected = true;
  health.reaches(() => isConnected);
  health.enters("starting: not everything that is declared was read yet");
  assert.match(await ask("/readyz"), /^503 starting: not everything/);
  health.enters(undefined);
  assert.equal(await ask("/readyz"), "200 ok\n");
  isConnected = false;
  assert.match(await ask("/readyz"), /^503 the daemon cannot be reached/);
  assert.equal(await ask("/healthz"), "200 ok\n", "a restart would not help");
  assert.match(await ask("/metrics"), /\nbpfleet_agent_daemon_connected 0\n/);
  assert.match(await ask("/metrics"), /\nprocess_start_time_seconds 1700000000\n/);
  assert.equal(await ask("/readyz", "HEAD"), "503 ");
  assert.match(await ask("/"), /^404 /);
  assert.match(await ask("/metrics", "POST"), /^405 /);
});
