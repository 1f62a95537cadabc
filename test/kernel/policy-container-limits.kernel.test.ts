import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { LineProcess, until } from "@bpfleet/daemon/testing";
import type { KubeObject } from "@bpfleet/kinds";
import { checkRate, Holder, measureStream } from "./policy-rig/measured-stream.ts";
import type { PaceAnswer, PaceCommand } from "./policy-rig/pace-datagrams.ts";
import { podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [client, db] = [rigPod("x", "client", 1), rigPod("x", "db", 2)];
const port = 5432;

function limiting(resourceLimits: object, description = ""): KubeObject & { readonly spec: object } {
  const spec = { description, selector: { podSelector: { matchLabels: { app: "db" } } }, resourceLimits };
  const metadata = { name: "database", namespace: "x" };
  return { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFContainerPolicy", metadata, spec };
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

test("bandwidthLimits lets a pod receive and send so much each second, measured on a stream", async (context) => {
  await using rig = await makeRig();
  await using server = new Holder(rig, db);
  await using sender = new Holder(rig, client);
  await server.ask({ listen: port });
  await sender.ask({ listen: port });
  const inward = { from: sender, to: server, host: db.ipv4, port };
  const outward = { from: server, to: sender, host: client.ipv4, port };
  const bitsPerSecond = 20_000_000;
  assert.ok((await measureStream(inward)) > 2 * bitsPerSecond, "without a limit");
  await put(
    rig,
    limiting({ bandwidthLimits: { ingressBitsPerSecond: bitsPerSecond, egressBitsPerSecond: bitsPerSecond / 2 } }),
  );
  // Half a second's may come at once.
  const received = await checkRate(inward, bitsPerSecond, bitsPerSecond / 16);
  const sent = await checkRate(outward, bitsPerSecond / 2, bitsPerSecond / 32);
  context.diagnostic(`received ${received.join()}, sent ${sent.join()} of the rate`);
});

function slowRule(bitsPerSecond: number): KubeObject {
  const toPorts = [{ ports: [{ port: String(port), protocol: "UDP" }] }];
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

class Pacer extends LineProcess {
  constructor(rig: PolicyRig, pod: RigPod) {
    super(rig.network.netnsOf(pod), join(import.meta.dirname, "policy-rig/pace-datagrams.ts"), []);
  }

  async ask(command: PaceCommand): Promise<PaceAnswer> {
    this.write(JSON.stringify(command));
    return JSON.parse((await this.read()) ?? assert.fail(this.log)) as PaceAnswer;
  }
}

test("limits that are raised under a transfer are followed by it at once, over the same flow", async () => {
  await using rig = await makeRig();
  await using server = new Pacer(rig, db);
  await server.ask({ listen: port });
  // What may come at once at the low rate is charged for eleven minutes.
  const [low, high, burstBytes, bytes] = [800, 8_000_000, 65_536, 1000];
  const pod = (bits: number): KubeObject => limiting({ bandwidthLimits: { ingressBitsPerSecond: bits } });
  for (const policyOf of [pod, slowRule]) {
    const { kind } = policyOf(low);
    const change = async (bits: number): Promise<void> => {
      const { objects, trouble } = await rig.change({ write: [policyOf(bits)] });
      assert.equal(trouble, undefined, rig.log);
      assert.equal(objects.find(({ ref }) => ref.kind === kind)?.state, "in-force", JSON.stringify(objects));
    };
    const known = Object.keys((await server.ask({})).received);
    const flows = async (): Promise<readonly number[]> =>
      Object.entries((await server.ask({})).received).flatMap(([from, count]) => (known.includes(from) ? [] : [count]));
    await change(low);
    await using sender = new Pacer(rig, client);
    const begunMs = performance.now();
    await sender.ask({ send: { host: db.ipv4, port, bytes, everyMs: 5 } });
    await until(
      "what may come at once has come",
      async () => {
        const [received = 0] = await flows();
        return received > 0 && (await sender.ask({})).sent > received + 200;
      },
      60_000,
    );
    const [slow = 0] = await flows();
    const most = burstBytes + (low / 8) * ((performance.now() - begunMs) / 1000);
    assert.ok((slow - 1) * bytes <= most, `${kind}: ${slow} datagrams, ${most} bytes at most`);
    await change(high);
    await until("it is faster", async () => ((await flows())[0] ?? 0) > slow + 200, 60_000);
    assert.equal((await flows()).length, 1, `${kind}: by the flow that there was`);
    await sender.kill();
    await rig.change({ remove: [refOfPolicy(policyOf(high))] });
  }
});
