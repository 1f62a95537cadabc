import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { KubeObject } from "@bpfleet/kinds";
import { InnerProcess } from "@bpfleet/native/testing";
import { FirstPackets } from "./cni-rig/first-packet.ts";
import { podKey, rigPod, type RigPod, type Wiring } from "./policy-rig/pod-network.ts";
import type { Probe } from "./policy-rig/prober.ts";
import { families, namespaceObject, notAsWritten, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [a, b, z] = [rigPod("x", "a", 1), rigPod("x", "b", 2), rigPod("y", "z", 3)];
const heir: RigPod = { ...z, ipv4: b.ipv4, ipv6: b.ipv6 };
const patientMs = 5000;
const quietMs = 200;

/** Pods `app: a` talk to pods of their namespace, whatever the port, and to those of another one at 81 alone. */
const policy: KubeObject = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "own", namespace: "x" },
  spec: {
    podSelector: { matchLabels: { app: "a" } },
    policyTypes: ["Ingress", "Egress"],
    ingress: [
      { from: [{ podSelector: {} }] },
      {
        from: [{ namespaceSelector: { matchLabels: { env: "y" } } }],
        ports: [{ port: 81 }, { port: 81, protocol: "UDP" }],
      },
    ],
    egress: [
      { to: [{ podSelector: {} }] },
      {
        to: [{ namespaceSelector: { matchLabels: { env: "y" } } }],
        ports: [{ port: 81 }, { port: 81, protocol: "UDP" }],
      },
    ],
  },
};

for (const wiring of ["routed", "bridged"] as const)
  for (const order of ["removed first", "in one change"] as const)
    test(`an address that another pod takes over has that pod's identity, also for open flows (${wiring}, ${order})`, () =>
      takeOver(wiring, order));

test("a pod of a bridge that makes its own packets is taken for another one by its address, until a policy selects it, if only to allow everything", async () => {
  const port = 7001;
  const forger = rigPod("x", "forger", 4);
  await using rig = await PolicyRig.make("bridged", [a, b, forger]);
  const declared = [a, b, forger].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
  const hears: KubeObject = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "hears", namespace: "x" },
    spec: {
      podSelector: { matchLabels: { app: "a" } },
      policyTypes: ["Ingress"],
      ingress: [{ from: [{ podSelector: { matchLabels: { app: "b" } } }], ports: [{ protocol: "UDP", port }] }],
    },
  };
  const all: KubeObject = {
    ...hears,
    metadata: { name: "all", namespace: "x" },
    spec: { podSelector: { matchLabels: { app: "forger" } }, policyTypes: ["Ingress"], ingress: [{}] },
  };
  await rig.change({ write: [namespaceObject("x", {}), ...declared, hears] });
  const packets = new FirstPackets(rig.network.sandbox.dir);
  const heard = async (from: string): Promise<boolean> => {
    const receiver = await packets.receive(rig.network.netnsOf(a), [port]);
    {
      const [fromMac, toMac] = [forger, a].map((pod) => macOf(rig, pod));
      assert.ok(fromMac !== undefined && toMac !== undefined);
      const sent = { interface: "eth0", fromMac, toMac, from, to: a.ipv4, ports: [port] };
      await using _sending = packets.send({ netns: rig.network.netnsOf(forger), ...sent });
      await sleep(1000);
    }
    return ((await receiver.end()).get(port)?.count ?? 0) > 0;
  };
  assert.deepEqual([await heard(forger.ipv4), await heard(b.ipv4)], [false, true]);
  const { objects } = await rig.change({ write: [all] });
  assert.deepEqual(notAsWritten(objects, [hears, all].map(refOfPolicy)), []);
  assert.deepEqual([await heard(forger.ipv4), await heard(b.ipv4)], [false, false]);
  const probe = { from: podKey(forger), to: b.ipv4, protocol: "TCP", port: 80 } as const;
  assert.deepEqual(await rig.prober.probe([probe], patientMs), ["answered"], "with its own address it sends as before");
});

async function takeOver(wiring: Wiring, order: "removed first" | "in one change"): Promise<void> {
  await using rig = await PolicyRig.make(wiring, [a, b, z]);
  // As an API server has it: who holds an address is known by the object, wherever the interface is.
  const declared = (pod: RigPod): KubeObject & { readonly status: object } => ({
    ...podObject(pod, rig.network.netnsOf(pod), { app: pod.name }),
    status: { podIPs: families.map((family) => ({ ip: pod[family] })) },
  });
  const inForce = async (change: Parameters<PolicyRig["change"]>[0]): Promise<void> => {
    const { objects, trouble } = await rig.change(change);
    assert.equal(trouble, undefined, rig.log);
    assert.deepEqual(notAsWritten(objects, [refOfPolicy(policy)]), []);
  };
  const namespaces = [namespaceObject("x", { env: "x" }), namespaceObject("y", { env: "y" })];
  await inForce({ write: [...namespaces, declared(a), declared(b), policy] });
  const flows = await openFlows(rig);
  {
    await using before = await InnerProcess.start({ netns: rig.network.netnsOf(b) });
    for (const family of families) assert.equal(await saidTo(a[family], before, rig, patientMs), "answered", family);
  }

  rig.network.unwire(b);
  rig.network.unwire(z);
  const removed = { group: "", kind: "Pod", namespace: b.namespace, name: b.name };
  if (order === "removed first") await inForce({ remove: [removed] });
  rig.network.wire(heir);
  // As plug-ins tell of the new place of an address.
  for (const netns of [rig.network.netnsOf(a), rig.network.node.name])
    rig.network.sandbox.ip(netns, "neighbour", "flush", "all");
  if (order === "removed first") await meetsNothing(rig, flows, "while nobody is declared to have it");
  await inForce({ write: [declared(heir)], remove: order === "removed first" ? [] : [removed] });

  await meetsNothing(rig, flows, "of another pod");
  await using after = await InnerProcess.start({ netns: rig.network.netnsOf(heir) });
  for (const family of families)
    assert.equal(await saidTo(a[family], after, rig, quietMs), "silence", `goes on with ${family}`);
  const allowed = families.flatMap((family) => [
    ...probesOf(podKey(a), heir[family], 81),
    ...probesOf(podKey(heir), a[family], 81),
  ]);
  assert.deepEqual(
    await rig.prober.probe(allowed, patientMs),
    allowed.map(() => "answered"),
    "what that pod may",
  );
  const late = await rig.prober.late();
  assert.deepEqual(late, []);
}

function probesOf(from: string, to: string, port: number): readonly Probe[] {
  return (["TCP", "UDP"] as const).map((protocol) => ({ from, to, protocol, port }));
}

async function openFlows(rig: PolicyRig): Promise<readonly number[]> {
  const probes = families.flatMap((family) => probesOf(podKey(a), b[family], 80));
  const flows: number[] = [];
  for (const probe of probes) flows.push((await rig.prober.open(probe)) ?? assert.fail(JSON.stringify(probe)));
  for (const flow of flows) assert.equal(await rig.prober.poke(flow, patientMs), "answered");
  return flows;
}

/** What the other pod would answer, if only by a reset. */
async function meetsNothing(rig: PolicyRig, flows: readonly number[], when: string): Promise<void> {
  for (const flow of flows) assert.equal(await rig.prober.poke(flow, quietMs), "nothing", `flow ${flow} ${when}`);
  const probes = families.flatMap((family) => [
    ...probesOf(podKey(a), heir[family], 80),
    ...probesOf(podKey(heir), a[family], 80),
  ]);
  assert.deepEqual(
    await rig.prober.probe(probes, quietMs),
    probes.map(() => "nothing"),
    when,
  );
}

/** The server there answers while the prober waits. */
async function saidTo(to: string, by: InnerProcess, { prober }: PolicyRig, forMs: number): Promise<string> {
  const over = new AbortController();
  const met = by.run(sayByUdp, { to, forMs }).finally(() => over.abort());
  while (!over.signal.aborted) await prober.late(20);
  return met;
}

/** From the same port each time. */
async function sayByUdp({ to, forMs }: { to: string; forMs: number }): Promise<string> {
  const { createSocket } = process.getBuiltinModule("node:dgram");
  const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
  try {
    await new Promise<void>((done) => socket.bind(40_000, done));
    return await new Promise((done) => {
      socket.once("message", () => done("answered"));
      socket.send("hey", 80, to);
      setTimeout(() => done("silence"), forMs);
    });
  } finally {
    socket.close();
  }
}

function macOf({ network }: PolicyRig, pod: RigPod): string {
  const words = ["netns", "exec", network.netnsOf(pod), "cat", "/sys/class/net/eth0/address"];
  return execFileSync("ip", words, { encoding: "utf8" }).trim();
}
