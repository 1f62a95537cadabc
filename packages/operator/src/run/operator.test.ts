import assert from "node:assert/strict";
import { test } from "node:test";
import { connectKube, fixedCredentials, systemTiming } from "@bpfleet/kube-client";
import { startOperator } from "./operator.ts";

test("Operator leaves no timer behind that would hold its process when it has stopped", async () => {
  const access = { server: "http://127.0.0.1:9", namespace: "default", tls: {}, credentials: fixedCredentials({}) };
  await using client = connectKube(access);
  let sleeping = 0;
  const operator = await startOperator({
    client,
    kinds: [],
    images: { agentImage: "a", daemonImage: "d" },
    election: {
      isEnabled: true,
      namespace: "kube-system",
      name: "lease",
      identity: "self",
      leaseDurationMs: 15_000,
      renewDeadlineMs: 10_000,
      retryPeriodMs: 2000,
    },
    timing: {
      ...systemTiming,
      sleep: async (ms, signal) => {
        sleeping += 1;
        await systemTiming.sleep(ms, signal);
        sleeping -= 1;
      },
    },
    log: () => undefined,
  });
  await operator.stop();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(sleeping, 0);
});
