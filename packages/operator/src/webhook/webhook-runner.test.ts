import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { createServer, type AddressInfo, type Server } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { connectKube, fixedCredentials, systemTiming } from "@bpfleet/kube-client";
import { issueCertificate, makeAuthority } from "../certificates/authority.ts";
import { webhookHosts } from "./webhook-objects.ts";
import { WebhookRunner } from "./webhook-runner.ts";

const lifetime = { at: Date.now(), days: 5 };
const silent = { wrote() {}, fault() {}, happened() {}, note() {} };

/** At a free port of every address. */
async function listenAnywhere(): Promise<Server & AsyncDisposable> {
  const server = createServer().listen(0);
  await once(server, "listening");
  return server;
}

test("WebhookRunner listens as soon as it can, and takes a new certificate from then on", async () => {
  const authority = await makeAuthority("test", lifetime);
  const wish = { commonName: "webhook", dnsNames: webhookHosts, usages: ["server"] } as const;
  const certificate = { ...(await issueCertificate(authority, wish, lifetime)), bundle: authority.certificate };
  await using taken = await listenAnywhere();
  const { port } = taken.address() as AddressInfo;
  const failures: string[] = [];
  const access = { server: "http://127.0.0.1:9", namespace: "default", tls: {}, credentials: fixedCredentials({}) };
  await using client = connectKube(access);
  let waits = 0;
  const renewed = new Set<() => void>();
  await using runner = new WebhookRunner({
    client,
    kinds: [],
    port,
    certificates: {
      webhookCertificate: () => certificate,
      onWebhookCertificate: (listener) => {
        renewed.add(listener);
        return () => renewed.delete(listener);
      },
    },
    nodes: { size: 0, list: () => [] },
    pods: () => undefined,
    teller: { ...silent, failed: (_part, { error }) => void failures.push((error as Error).message) },
    timing: {
      ...systemTiming,
      sleep: async (_ms, signal) => {
        if (++waits === 2) await new Promise((resolve) => taken.close(resolve));
        return systemTiming.sleep(1, signal);
      },
    },
  });
  for (const end = performance.now() + 30_000; runner.port === undefined; await systemTiming.sleep(5))
    assert.ok(performance.now() < end, "it does not listen");
  assert.equal(failures.length, 2);
  assert.match(failures[0] ?? "", /EADDRINUSE/);
  for (const renew of renewed) renew();
  const asked = get({
    port,
    host: "127.0.0.1",
    path: "/healthz",
    servername: webhookHosts[0],
    ca: authority.certificate,
  });
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  assert.equal(await text(answer), "ok");
  assert.equal(runner.port, port);
});
