import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { DaemonClient, type TraceEvent } from "@bpfleet/daemon/client";
import { until } from "@bpfleet/daemon/testing";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import { families, namespaceObject, podObject, PolicyRig } from "./policy-rig/policy-rig.ts";

const [from, to] = [rigPod("x", "a", 1), rigPod("x", "b", 2)];

const policy = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "eighty", namespace: "x" },
  spec: {
    podSelector: { matchLabels: { app: "b" } },
    policyTypes: ["Ingress"],
    ingress: [{ ports: [{ port: 80, protocol: "TCP" }] }],
  },
};

test("a trace of flows tells each connection once, and each packet that is dropped, with real packets", async () => {
  await using rig = await PolicyRig.make("routed", [from, to]);
  const pods = [from, to].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
  await rig.change({ write: [namespaceObject("x", {}), ...pods, policy] });
  using daemon = new DaemonClient(join(rig.network.sandbox.dir, "node.sock"));
  const ending = new AbortController();
  const listen = async (only: "flow" | "all", heard: TraceEvent[]): Promise<void> => {
    for await (const events of daemon.trace({ every: 1, only }, ending.signal)) heard.push(...events);
  };
  const [flows, all]: [TraceEvent[], TraceEvent[]] = [[], []];
  const listening = [listen("flow", flows)];
  const ask = (port: number, protocol: "TCP" | "UDP") =>
    rig.prober.probe([{ from: podKey(from), to: to.ipv4, protocol, port }], 1500);
  const opened = (events: readonly TraceEvent[]): readonly TraceEvent[] =>
    events.filter(({ decision }) => decision.verdict === "pass");
  try {
    await until("a drop is told", async () => {
      assert.deepEqual(await ask(81, "UDP"), ["nothing"]);
      return flows.length > 0;
    });
    const asked = 5;
    for (let tries = 0; tries < asked; tries++) assert.deepEqual(await ask(80, "TCP"), ["answered"]);
    await until("all flows are told", () => opened(flows).length >= asked);
    assert.deepEqual(await ask(81, "TCP"), ["nothing"]);
    await until("the drop is told", () => flows.at(-1)?.decision.verdict === "drop");
    assert.equal(opened(flows).length, asked, "one line each");
    for (const { decision, opensFlow } of flows) {
      assert.equal(opensFlow, decision.verdict === "pass" ? true : undefined);
      assert.equal(decision.reason, decision.verdict === "pass" ? "allowed" : "default_deny");
    }

    listening.push(listen("all", all));
    await until("replies are told to who wants all", async () => {
      assert.deepEqual(await ask(80, "TCP"), ["answered"]);
      return all.some(({ decision }) => decision.reason === "reply");
    });
    assert.ok(opened(flows).every(({ opensFlow }) => opensFlow === true));
    assert.ok(flows.every(({ decision }) => decision.reason !== "reply" && decision.reason !== "established"));
  } finally {
    ending.abort();
    await Promise.all(listening);
  }
});

test("a trace says by which program a packet was dropped, also where a pod is judged in both directions", async () => {
  await using rig = await PolicyRig.make("routed", [from, to]);
  const pods = [from, to].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
  const spec = { podSelector: { matchLabels: { app: "b" } }, policyTypes: ["Ingress", "Egress"] };
  await rig.change({ write: [namespaceObject("x", {}), ...pods, { ...policy, spec }] });
  using daemon = new DaemonClient(join(rig.network.sandbox.dir, "node.sock"));
  const ending = new AbortController();
  const heard: TraceEvent[] = [];
  const listening = (async () => {
    for await (const events of daemon.trace({ every: 1, only: "drop" }, ending.signal)) heard.push(...events);
  })();
  try {
    for (const family of families) {
      const is = (text: string) => heard.filter(({ decision }) => decision.text.includes(text));
      await until("both drops are told", async () => {
        const probes = [
          { from: podKey(from), to: to[family], protocol: "UDP", port: 80 },
          { from: podKey(to), to: from[family], protocol: "UDP", port: 80 },
        ] as const;
        assert.deepEqual(await rig.prober.probe(probes, 500), ["nothing", "nothing"]);
        return is("lets pod x/b receive").length > 0 && is("lets pod x/b send").length > 0;
      });
      assert.deepEqual(new Set(is("lets pod x/b receive").map(({ program }) => program)), new Set(["policy/ingress"]));
      assert.deepEqual(new Set(is("lets pod x/b send").map(({ program }) => program)), new Set(["policy/egress"]));
    }
  } finally {
    ending.abort();
    await listening;
  }
});
