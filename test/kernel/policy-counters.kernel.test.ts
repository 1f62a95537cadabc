import assert from "node:assert/strict";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [a, b] = [rigPod("x", "a", 1), rigPod("x", "b", 2)];

function policy(...ports: readonly number[]): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "p", namespace: "x" },
    spec: {
      podSelector: { matchLabels: { app: "a" } },
      policyTypes: ["Ingress"],
      ingress: ports.map((port) => ({ ports: [{ port }] })),
    },
  };
}

/** What Prometheus would read, as it is now: readings are shared for a moment. */
async function scrape(rig: PolicyRig): Promise<string> {
  await sleep(200);
  const socketPath = `${join(rig.network.sandbox.dir, "node.sock")}.metrics`;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  request({ socketPath, path: "/metrics" }, (response) => void text(response).then(resolve, reject))
    .on("error", reject)
    .end();
  return promise;
}

function value(metrics: string, name: string, ...labels: readonly string[]): number | undefined {
  const lines = metrics.split("\n").filter((line) => line.startsWith(`${name}{`));
  const line = lines.find((each) => labels.every((label) => each.includes(label)));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(" ") + 1));
}

const rule = (port: number) => [`name="p"`, `rule="allow ingress from anybody at TCP ${port}"`];

test("what rules count, and when, outlives edits, the daemon, and that no pod is selected any more", async () => {
  await using rig = await PolicyRig.make("routed", [a, b]);
  const pod = (app: string) => podObject(a, rig.network.netnsOf(a), { app });
  const ask = async (port: number): Promise<string> => {
    const probes = [{ from: podKey(b), to: a.ipv4, protocol: "TCP", port }] as const;
    return (await rig.prober.probe(probes, 500))[0] ?? "";
  };
  await rig.change({
    write: [namespaceObject("x", {}), pod("a"), podObject(b, rig.network.netnsOf(b), { app: "b" }), policy(80)],
  });
  const beganS = Date.now() / 1000;
  assert.equal(await ask(80), "answered");
  assert.notEqual(await ask(81), "answered");
  const first = await scrape(rig);
  const packets = value(first, "bpfleet_rule_packets_total", ...rule(80)) ?? 0;
  assert.ok(packets > 0, first);
  assert.ok((value(first, "bpfleet_rule_bytes_total", ...rule(80)) ?? 0) >= packets * 40);
  assert.ok((value(first, "bpfleet_packets_total", `reason="default_deny"`, `verdict="drop"`) ?? 0) > 0, first);
  const hitS = value(first, "bpfleet_rule_last_hit_timestamp_seconds", ...rule(80)) ?? 0;
  assert.ok(hitS >= beganS - 1 && hitS <= Date.now() / 1000 + 1, `${hitS}`);

  await rig.change({ write: [policy(81, 80)] });
  assert.equal(value(await scrape(rig), "bpfleet_rule_packets_total", ...rule(80)), packets, "an edit");

  await rig.stop();
  await rig.start();
  await rig.change({});
  const restarted = await scrape(rig);
  assert.equal(value(restarted, "bpfleet_rule_packets_total", ...rule(80)), packets, "a restart");
  assert.equal(value(restarted, "bpfleet_rule_last_hit_timestamp_seconds", ...rule(80)), hitS);
  assert.equal(value(restarted, "bpfleet_rule_last_hit_timestamp_seconds", ...rule(81)), undefined);

  // Counted after the last reading, and then no pod has it.
  assert.equal(await ask(80), "answered");
  await rig.change({ write: [pod("other")] });
  assert.equal(value(await scrape(rig), "bpfleet_rule_packets_total", ...rule(80)), undefined);
  assert.equal(await ask(80), "answered");
  await rig.stop();
  await rig.start();
  await rig.change({ write: [pod("a")] });
  const back = value(await scrape(rig), "bpfleet_rule_packets_total", ...rule(80)) ?? 0;
  assert.ok(back > packets && back <= 2 * packets + 4, `${back} after ${packets}`);
  assert.equal(await ask(80), "answered");
  assert.ok((value(await scrape(rig), "bpfleet_rule_packets_total", ...rule(80)) ?? 0) > back);
  await rig.change({ remove: [refOfPolicy(policy())] });
});
