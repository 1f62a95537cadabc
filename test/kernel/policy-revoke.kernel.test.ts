import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig } from "./policy-rig/policy-rig.ts";

const [client, db] = [rigPod("x", "client", 1), rigPod("x", "db", 2)];
const patientMs = 5000;
const quietMs = 200;

const forms = {
  NetworkPolicy: (onRevoke: string, isAllowed: boolean): KubeObject & { readonly spec: object } => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "db", namespace: "x", annotations: { "bpfleet.io/on-revoke": onRevoke } },
    spec: {
      podSelector: { matchLabels: { app: "db" } },
      policyTypes: ["Ingress"],
      ingress: isAllowed ? [{ from: [{ podSelector: { matchLabels: { app: "client" } } }] }] : [],
    },
  }),
  CiliumNetworkPolicy: (onRevoke: string, isAllowed: boolean): KubeObject & { readonly spec: object } => ({
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "db", namespace: "x", annotations: { "bpfleet.io/on-revoke": onRevoke } },
    spec: {
      endpointSelector: { matchLabels: { app: "db" } },
      ingress: isAllowed ? [{ fromEndpoints: [{ matchLabels: { app: "client" } }] }] : [{}],
      ingressDeny: isAllowed ? [] : [{ fromEndpoints: [{ matchLabels: { app: "client" } }] }],
    },
  }),
} as const;

for (const [kind, make] of Object.entries(forms))
  test(`connections that a ${kind} ceases to allow are cut, and live on where it says keep; new ones never pass`, async () => {
    await using rig = await PolicyRig.make("routed", [client, db]);
    const pods = [client, db].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
    await rig.change({ write: [namespaceObject("x", {}), ...pods] });
    for (const onRevoke of ["cut", "keep"]) {
      await rig.change({ write: [make(onRevoke, true)] });
      const flows: number[] = [];
      for (const protocol of ["TCP", "UDP"] as const) {
        const probe = { from: podKey(client), to: db.ipv4, protocol, port: 80 } as const;
        flows.push((await rig.prober.open(probe)) ?? assert.fail(`${protocol} is not opened`));
      }
      for (const flow of flows) assert.equal(await rig.prober.poke(flow, patientMs), "answered");
      await rig.change({ write: [make(onRevoke, false)] });
      for (const flow of flows) {
        const lives = onRevoke === "keep";
        const met = await rig.prober.poke(flow, lives ? patientMs : quietMs);
        assert.equal(met === "answered", lives, `${onRevoke}: ${met}`);
      }
      const probe = { from: podKey(client), to: db.ipv4, protocol: "TCP", port: 80 } as const;
      assert.deepEqual(await rig.prober.probe([probe], quietMs), ["nothing"]);
      for (const flow of flows) await rig.prober.close(flow);
    }
  });
