import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { LineProcess, until } from "@bpfleet/daemon/testing";
import type { KubeObject } from "@bpfleet/kinds";
import type { HoldAnswer, HoldCommand } from "./policy-rig/hold-connections.ts";
import { podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [client, db] = [rigPod("x", "client", 1), rigPod("x", "db", 2)];
const port = 5432;
const script = join(import.meta.dirname, "policy-rig/hold-connections.ts");

function limiting(resourceLimits: object, description = ""): KubeObject & { readonly spec: object } {
  const spec = { description, selector: { podSelector: { matchLabels: { app: "db" } } }, resourceLimits };
  const metadata = { name: "database", namespace: "x" };
  return { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFContainerPolicy", metadata, spec };
}

class Holder extends LineProcess {
  constructor(rig: PolicyRig, pod: RigPod) {
    super(rig.network.netnsOf(pod), script, []);
  }

  async ask(command: HoldCommand): Promise<HoldAnswer> {
    this.write(JSON.stringify(command));
    return JSON.parse((await this.read()) ?? assert.fail(this.log)) as HoldAnswer;
  }
}

async function makeRig(): Promise<PolicyRig> {
  const rig = await PolicyRig.make("routed", [client, db], { ports: [80] });
  const pods = [client, db].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
  await rig.change({ write: [namespaceObject("x", {}), ...pods] });
  return rig;
}

/** Of the object; the rig answers with what became of all. */
async function put(rig: PolicyRig, policy: KubeObject): Promise<{ readonly connections?: number }> {
  const { objects, trouble } = await rig.change({ write: [policy] });
  assert.equal(trouble, undefined, rig.log);
  const own = objects.find(({ ref }) => ref.kind === "EBPFContainerPolicy");
  assert.deepEqual([own?.state, own?.messages], ["in-force", []]);
  const status = own?.status as { readonly metrics?: { readonly connections?: number } } | undefined;
  return status?.metrics ?? {};
}

function stateOf(rig: PolicyRig, what: string): Promise<number | undefined> {
  const labels = 'kind="EBPFContainerPolicy",namespace="x",name="database",pod="db",pod_namespace="x",what="';
  return rig.metric("bpfleet_object_state", `${labels}${what}"`);
}

test("maxConnections lets a pod have so many connections open, also over edits and restarts, with real sockets", async () => {
  const most = 10;
  await using rig = await makeRig();
  await using server = new Holder(rig, db);
  await using opener = new Holder(rig, client);
  await server.ask({ listen: port });
  const open = { host: db.ipv4, port, count: 1 };
  assert.equal((await opener.ask({ open: { ...open, count: 2 } })).open, 2, "older than the limit");
  await put(rig, limiting({ connectionLimits: { maxConnections: most } }));
  assert.equal((await opener.ask({ echo: true })).echoed, 2, "which go on");
  assert.equal((await opener.ask({ open: { ...open, count: most } })).open, most, "as many as there may be");
  assert.equal((await opener.ask({ open: { ...open, host: db.ipv6 } })).open, most);
  assert.equal((await opener.ask({ echo: true })).echoed, most);
  assert.equal(await stateOf(rig, "connections"), most);
  assert.equal(await stateOf(rig, "max_connections"), most);
  const udp = { from: podKey(client), to: db.ipv4, protocol: "UDP", port: 80 } as const;
  assert.deepEqual(await rig.prober.probe([udp], 5000), ["answered"]);
  const probe = { from: "node", to: db.ipv4, protocol: "TCP", port: 80 } as const;
  assert.deepEqual(await rig.prober.probe([probe], 5000), ["answered"], "what the node asks is not limited");
  assert.equal((await opener.ask({ close: 1 })).open, most - 1);
  assert.equal((await opener.ask({ open })).open, most);
  assert.equal((await opener.ask({ open })).open, most);
  assert.equal((await put(rig, limiting({ connectionLimits: { maxConnections: most } }, "edited"))).connections, most);
  assert.equal((await opener.ask({ open })).open, most, "an edit forgets none");
  await rig.stop();
  assert.equal((await opener.ask({ open })).open, most, "in force without a daemon");
  await rig.start();
  assert.equal((await opener.ask({ open })).open, most, "and with the next one");
  assert.equal((await opener.ask({ echo: true })).echoed, most);
  await opener.kill();
  await using again = new Holder(rig, client);
  await until("connections have ended", async () => (await stateOf(rig, "connections")) === 0);
  assert.equal((await again.ask({ open: { ...open, count: most + 1 } })).open, most, "who was killed holds none");
});

test("bandwidthLimits lets a pod receive and send so much each second, measured on a stream", async () => {
  await using rig = await makeRig();
  await using server = new Holder(rig, db);
  await using sender = new Holder(rig, client);
  await server.ask({ listen: port });
  await sender.ask({ listen: port });
  const bitsPerSecond = 20_000_000;
  const rateOf = async (from: Holder, to: Holder, host: string): Promise<number> => {
    await from.ask({ stream: { host, port, ms: 6000 } });
    const { bytes, ms } = await to.ask({});
    return (bytes * 8) / (ms / 1000);
  };
  assert.ok((await rateOf(sender, server, db.ipv4)) > 2 * bitsPerSecond, "without a limit");
  await put(
    rig,
    limiting({ bandwidthLimits: { ingressBitsPerSecond: bitsPerSecond, egressBitsPerSecond: bitsPerSecond / 2 } }),
  );
  const received = (await rateOf(sender, server, db.ipv4)) / bitsPerSecond;
  const sent = (await rateOf(server, sender, client.ipv4)) / (bitsPerSecond / 2);
  console.log(`received ${received.toFixed(3)}, sent ${sent.toFixed(3)} of the rate`);
  // More than the rate, by a little, where a busy machine lets the stream wait while the limit saves up.
  assert.ok(received > 0.8 && received < 1.15, `received ${received}`);
  assert.ok(sent > 0.8 && sent < 1.15, `sent ${sent}`);
});

function slowRule(bitsPerSecond: number): KubeObject {
  const toPorts = [{ ports: [{ port: String(port), protocol: "TCP" }] }];
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "slow", namespace: "x" },
    spec: {
      endpointSelector: { matchLabels: { app: "client" } },
      egress: [{ toEndpoints: [{}], toPorts, toBandwidth: { bitsPerSecond } }],
    },
  };
}

test("limits that are raised under a transfer are followed by it at once, over the same connection", async (context) => {
  await using rig = await makeRig();
  await using server = new Holder(rig, db);
  await server.ask({ listen: port });
  const [low, high] = [8_000_000, 80_000_000];
  const pod = (bits: number): KubeObject => limiting({ bandwidthLimits: { ingressBitsPerSecond: bits } });
  for (const [what, policyOf] of [
    ["bandwidthLimits", pod],
    ["toBandwidth", slowRule],
  ] as const) {
    const change = async (bits: number): Promise<void> => {
      const { objects, trouble } = await rig.change({ write: [policyOf(bits)] });
      assert.equal(trouble, undefined, rig.log);
      const { kind } = policyOf(bits);
      assert.equal(objects.find(({ ref }) => ref.kind === kind)?.state, "in-force", JSON.stringify(objects));
    };
    const rateOver = async (ms: number): Promise<number> => {
      const [begun, begunMs] = [await server.ask({}), performance.now()];
      await sleep(ms);
      const ended = await server.ask({});
      assert.ok(ended.bytes >= begun.bytes, "another connection begins anew");
      return ((ended.bytes - begun.bytes) * 8) / ((performance.now() - begunMs) / 1000);
    };
    await change(low);
    const { bytes: stale } = await server.ask({});
    await using sender = new Holder(rig, client);
    sender.write(JSON.stringify({ stream: { host: db.ipv4, port, ms: 120_000 } }));
    await until("it flows", async () => ![0, stale].includes((await server.ask({})).bytes), 30_000);
    const slow = await rateOver(2000);
    assert.ok(slow > 0 && slow < low * 1.3, `${what}: ${slow}`);
    await change(high);
    const raisedMs = performance.now();
    await until("it is faster", async () => (await rateOver(200)) > 3 * low, 30_000);
    const tookMs = performance.now() - raisedMs;
    const fast = await rateOver(1000);
    context.diagnostic(
      `${what}: ${(slow / 1e6).toFixed(1)} Mbit/s, raised ${(fast / 1e6).toFixed(1)}, more than threefold after ${tookMs.toFixed(0)} ms`,
    );
    assert.ok(tookMs < 5000 && fast < high * 1.3, `${what}: ${tookMs} ms, ${fast}`);
    await sender.kill();
    await rig.change({ remove: [refOfPolicy(policyOf(high))] });
  }
});
