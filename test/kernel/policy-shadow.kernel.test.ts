import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DaemonClient } from "@bpfleet/daemon/client";
import { readTrials } from "@bpfleet/features";
import { renderAddress, type KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import type { Probe } from "./policy-rig/prober.ts";
import { matrixOf, namespaceObject, notAsWritten, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const pods = [rigPod("x", "a", 1), rigPod("x", "b", 2), rigPod("y", "a", 3)];

const annotations = { "bpfleet.io/mode": "shadow" };

/** Beside the other one: what denies a pair that it lets pass too. */
function denying(isShadow: boolean): KubeObject {
  const matchLabels = { pod: "a", "k8s:io.kubernetes.pod.namespace": "y" };
  const toPorts = [{ ports: [{ port: "81" }] }];
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "deny", namespace: "x", ...(isShadow && { annotations }) },
    spec: {
      endpointSelector: { matchLabels: { pod: "a" } },
      enableDefaultDeny: { ingress: false },
      ingressDeny: [{ fromEndpoints: [{ matchLabels }], toPorts }],
    },
  };
}

function policy(isShadow: boolean): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "try", namespace: "x", ...(isShadow && { annotations }) },
    spec: {
      podSelector: { matchLabels: { pod: "a" } },
      policyTypes: ["Ingress"],
      ingress: [{ from: [{ podSelector: { matchLabels: { pod: "b" } } }], ports: [{ port: 80 }] }],
    },
  };
}

/** From b at 80 it lets pass, nothing else. */
function fallback(isShadow: boolean): KubeObject {
  return {
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFNetworkPolicy",
    metadata: { name: "try", namespace: "x", ...(isShadow && { annotations }) },
    spec: {
      policyType: "filtering",
      selector: { podSelector: { matchLabels: { pod: "a" } } },
      ingress: [
        { from: [{ podSelector: { matchLabels: { pod: "b" } } }], ports: [{ protocol: "TCP", port: 80 }] },
        { action: "deny" },
      ],
    },
  };
}

function container(isShadow: boolean): KubeObject {
  return {
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFContainerPolicy",
    metadata: { name: "try", namespace: "x", ...(isShadow && { annotations }) },
    spec: {
      selector: { podSelector: { matchLabels: { pod: "a" } } },
      networkControls: {
        enableIngressControl: true,
        defaultIngressAction: "deny",
        ingressRules: [{ ports: [{ protocol: "TCP", port: 80 }] }],
      },
    },
  };
}

function ports(isShadow: boolean): KubeObject {
  return {
    apiVersion: "podconfig.example.com/v1alpha1",
    kind: "PodConfigMapConfig",
    metadata: { name: "try", namespace: "x", ...(isShadow && { annotations }) },
    spec: {
      podSelector: { matchLabels: { pod: "a" } },
      ebpfConfig: { l4Firewall: { enabled: true, defaultAction: "block", allowedPorts: [80] } },
    },
  };
}

/** What is tried out, and which of the pairs that it drops are dropped by a rule, not by the lack of one. */
const tried: readonly {
  readonly what: string;
  readonly make: (isShadow: boolean) => readonly KubeObject[];
  readonly byRule: (pair: string) => boolean;
  /** Pairs. */
  readonly drops: number;
}[] = [
  {
    what: "NetworkPolicy and CiliumNetworkPolicy",
    make: (isShadow) => [policy(isShadow), denying(isShadow)],
    byRule: (pair) => /^y\/a \w+ 81 /.test(pair),
    drops: 14,
  },
  { what: "EBPFNetworkPolicy", make: (isShadow) => [fallback(isShadow)], byRule: () => true, drops: 14 },
  { what: "EBPFContainerPolicy", make: (isShadow) => [container(isShadow)], byRule: () => false, drops: 12 },
  { what: "PodConfigMapConfig", make: (isShadow) => [ports(isShadow)], byRule: () => false, drops: 8 },
];

for (const { what, make, byRule, drops } of tried)
  test(`a policy that is only tried out drops nothing, and foretells what it drops once it is in force: ${what}`, async () => {
    await using rig = await PolicyRig.make("routed", pods);
    const world = pods.map((pod) => podObject(pod, rig.network.netns.get(podKey(pod)) ?? "", { pod: pod.name }));
    const namespaces = ["x", "y"].map((name) => namespaceObject(name, {}));
    const cells = (["ipv4", "ipv6"] as const).flatMap((family) => matrixOf(pods, family, ["TCP", "UDP"]));
    const met = async (): Promise<ReadonlySet<string>> => {
      const all = await rig.prober.probe(cells, 400);
      return new Set(cells.flatMap((cell, at) => (all[at] === "answered" ? [] : [pairOf(cell)])));
    };

    await rig.change({ write: [...namespaces, ...world, ...make(true)] });
    assert.deepEqual(await met(), new Set(), "nothing is dropped");
    // Several reports in a row share one reading of the counters.
    await sleep(200);
    const report = await rig.change({});
    const status = report.objects.find(({ ref }) => ref.name === "try");
    const foretold = Number(
      /on its pods (\d+) flows that pass would be dropped, 0 that/.exec(JSON.stringify(status))?.[1],
    );
    using daemon = new DaemonClient(join(rig.network.sandbox.dir, "node.sock"));
    const { entries } = await daemon.readMap({ map: { by: "key", key: "policy/trials" }, max: 1000 });
    const trials = readTrials(entries).map(({ peer, protocol, port, would, opened, flows, rule }) => {
      const from = pods.find(({ ipv4, ipv6 }) => [ipv4, ipv6].includes(renderAddress(peer)));
      const pair = `${from && podKey(from)} ${protocol === 6 ? "TCP" : "UDP"} ${port} ${peer.length === 4 ? "ipv4" : "ipv6"}`;
      return { pair, would, opened, flows, isByRule: rule > 0 };
    });

    const { objects } = await rig.change({ write: make(false) });
    assert.deepEqual(notAsWritten(objects, make(false).map(refOfPolicy)), []);
    const dropped = await met();
    assert.equal(dropped.size, drops);
    assert.equal(foretold, dropped.size, JSON.stringify([status, rig.log]));
    // Pair by pair; what a rule denies is told to be by it, all else by the lack of one.
    assert.deepEqual(new Set(trials.map(({ pair }) => pair)), dropped);
    for (const { pair, isByRule, ...trial } of trials) {
      assert.deepEqual(trial, { would: "drop", opened: "ingress", flows: 1n }, pair);
      assert.equal(isByRule, byRule(pair), pair);
    }
    await rig.change({ remove: make(false).map(refOfPolicy) });
  });

function pairOf({ from, to, protocol, port }: Probe): string {
  return `${from} ${protocol} ${port} ${to.includes(":") ? "ipv6" : "ipv4"}`;
}
