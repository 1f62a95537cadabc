import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { DaemonClient } from "@bpfleet/daemon/client";
import { until } from "@bpfleet/daemon/testing";
import type { LogEntry } from "@bpfleet/features";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig } from "./policy-rig/policy-rig.ts";

const [from, to] = [rigPod("x", "a", 1), rigPod("x", "b", 2)];
/** Of one rule each second, and at once. */
const rate = 100;

const logging: KubeObject & { readonly spec: object } = {
  apiVersion: "networking.fos1.io/v1alpha1",
  kind: "EBPFNetworkPolicy",
  metadata: { name: "watch", namespace: "x" },
  spec: {
    policyType: "filtering",
    selector: { podSelector: { matchLabels: { app: "b" } } },
    ingress: [{ description: "watched", ports: [{ protocol: "UDP", port: 80 }], action: "log" }, {}],
  },
};

const cilium: KubeObject & { readonly spec: object } = {
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "asks", namespace: "x" },
  spec: {
    endpointSelector: { matchLabels: { app: "a" } },
    log: { value: "asked" },
    egress: [{ toEndpoints: [{}] }],
    egressDeny: [{ toPorts: [{ ports: [{ port: "81", protocol: "TCP" }] }] }],
  },
};

test("action log and log.value tell each flow once, with real packets, and no more than the node can bear", async () => {
  await using rig = await PolicyRig.make("routed", [from, to]);
  const pods = [from, to].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
  await rig.change({ write: [namespaceObject("x", {}), ...pods] });
  using client = new DaemonClient(join(rig.network.sandbox.dir, "node.sock"));
  const read = async (): Promise<readonly LogEntry[]> => {
    const lines: string[] = [];
    const never = new AbortController().signal;
    for await (const some of client.log({ tail: 500, follow: false }, never)) lines.push(...some);
    return lines.map((line) => JSON.parse(line) as LogEntry);
  };
  const put = async (policy: KubeObject): Promise<void> => {
    const { objects, trouble } = await rig.change({ write: [policy] });
    assert.equal(trouble, undefined, rig.log);
    assert.deepEqual(
      objects.filter(({ state }) => state !== "in-force").map(({ messages }) => messages),
      [],
    );
  };
  const probe = (port: number, protocol: "UDP" | "TCP") => ({ from: podKey(from), to: to.ipv4, protocol, port });
  const [asked, unwatched] = [probe(80, "UDP"), probe(80, "TCP")];
  await put(logging);
  assert.deepEqual(await rig.prober.probe([asked, unwatched], 5000), ["answered", "answered"]);
  await until("the flow is told", async () => (await read()).length > 0);
  const [entry, ...more] = await read();
  assert.deepEqual(more, []);
  assert.ok(entry !== undefined && Math.abs(Date.parse(entry.time) - Date.now()) < 60_000, entry?.time);
  const { time: _, endpoint, peer, ...told } = entry;
  assert.deepEqual(told, {
    verdict: "allow",
    direction: "ingress",
    object: { kind: "EBPFNetworkPolicy", name: "watch" },
    namespace: "x",
    rule: { text: "watched", path: "/spec/ingress/0", ...told.rule },
    protocol: "udp",
    missed: 0,
  });
  const { interface: place, ...pod } = endpoint;
  assert.ok(place !== undefined && place !== "");
  assert.deepEqual(pod, { namespace: "x", pod: "b", address: to.ipv4, port: 80 });
  assert.equal(peer.address, from.ipv4);
  assert.ok((peer.port ?? 0) > 0);

  const count = 1200;
  const begunMs = performance.now();
  const flood = Array.from({ length: 200 }, () => asked);
  const met: string[] = [];
  while (met.length < count) met.push(...(await rig.prober.probe(flood, 10_000)));
  const seconds = (performance.now() - begunMs) / 1000;
  assert.equal(met.filter((each) => each === "answered").length, count, "what is not told passes all the same");
  // The first line after it says what was left out.
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const sum = (entries: readonly LogEntry[]): number =>
    entries.reduce((all, { missed }) => all + missed, entries.length);
  // Some have the ports of one before, and are no other flow.
  await until("all are told of", async () => {
    await rig.prober.probe([asked], 5000);
    return sum(await read()) >= count * 0.9 || (await read()).length === 500;
  });
  const all = await read();
  assert.ok(all.length <= Math.min(500, rate * (seconds + 2) + 3), `${all.length} lines in ${seconds} s`);
  assert.ok(all.some(({ missed }) => missed > 0));

  await put(cilium);
  assert.deepEqual(await rig.prober.probe([probe(80, "TCP"), probe(81, "TCP")], 1500), ["answered", "nothing"]);
  const asks = async (): Promise<readonly LogEntry[]> => (await read()).filter(({ object }) => object?.name === "asks");
  await until("both verdicts are told", async () => new Set((await asks()).map(({ verdict }) => verdict)).size === 2);
  const said = (await asks()).map(({ verdict, direction, rule, endpoint: own, peer: other }) => [
    verdict,
    direction,
    rule?.value,
    own.pod,
    other.pod,
    other.port,
  ]);
  assert.deepEqual(said[0], ["allow", "egress", "asked", "a", "b", 80]);
  assert.deepEqual(said[1], ["deny", "egress", "asked", "a", "b", 81]);
});
