import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { checkRate, Holder } from "./policy-rig/measured-stream.ts";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [from, to] = [rigPod("x", "a", 1), rigPod("x", "b", 2)];
const patientMs = 600;
const slow = { bitsPerSecond: 8, burstSize: 400 };

const cilium: KubeObject & { readonly spec: object } = {
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "slow", namespace: "x" },
  spec: {
    endpointSelector: { matchLabels: { app: "a" } },
    egress: [
      { toEndpoints: [{}], toPorts: [{ ports: [{ port: "80", protocol: "UDP" }] }], toBandwidth: slow },
      { toEndpoints: [{}], toPorts: [{ ports: [{ port: "81", protocol: "UDP" }] }] },
    ],
  },
};

const fallback: KubeObject & { readonly spec: object } = {
  apiVersion: "networking.fos1.io/v1alpha1",
  kind: "EBPFNetworkPolicy",
  metadata: { name: "slow", namespace: "x" },
  spec: {
    policyType: "filtering",
    selector: { podSelector: { matchLabels: { app: "b" } } },
    ingress: [{ ports: [{ protocol: "UDP", port: 80 }], rateLimit: slow }, { ports: [{ protocol: "UDP" }] }],
  },
};

test("toBandwidth and rateLimit let so much of a pod's packets pass by their rule, with real packets", async () => {
  await using rig = await PolicyRig.make("routed", [from, to]);
  const pods = [from, to].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
  await rig.change({ write: [namespaceObject("x", {}), ...pods] });
  for (const policy of [cilium, fallback]) {
    const { objects, trouble } = await rig.change({ write: [policy] });
    assert.equal(trouble, undefined, rig.log);
    assert.deepEqual(
      objects.filter(({ state }) => state !== "in-force").map(({ messages }) => messages),
      [],
    );
    const answered = async (port: number): Promise<number> => {
      const probe = { from: podKey(from), to: to.ipv4, protocol: "UDP", port } as const;
      const met = await rig.prober.probe(
        Array.from({ length: 60 }, () => probe),
        patientMs,
      );
      return met.filter((each) => each === "answered").length;
    };
    const limited = await answered(80);
    assert.ok(limited >= 1 && limited < 20, `${policy.kind}: ${limited} of 60`);
    assert.equal(await answered(81), 60, policy.kind);
    await rig.change({ remove: [refOfPolicy(policy)] });
    assert.equal(await answered(80), 60, policy.kind);
  }
});

test("toBandwidth lets a stream of TCP pass at about its rate, and never at more", async (context) => {
  await using rig = await PolicyRig.make("routed", [from, to]);
  const pods = [from, to].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
  const bitsPerSecond = 20_000_000;
  const toPorts = [{ ports: [{ port: "5432", protocol: "TCP" }] }];
  const egress = [{ toEndpoints: [{}], toPorts, toBandwidth: { bitsPerSecond } }];
  const policy = { ...cilium, spec: { ...cilium.spec, egress } };
  const { trouble } = await rig.change({ write: [namespaceObject("x", {}), ...pods, policy] });
  assert.equal(trouble, undefined, rig.log);
  await using server = new Holder(rig, to);
  await using sender = new Holder(rig, from);
  await server.ask({ listen: 5432 });
  const stream = { from: sender, to: server, host: to.ipv4, port: 5432 };
  // Half a second's may come at once.
  const shares = await checkRate(stream, bitsPerSecond, bitsPerSecond / 16);
  context.diagnostic(`${shares.join()} of the rate`);
});
