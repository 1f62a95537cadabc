import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import { matrixOf, namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const pods = [rigPod("x", "a", 1), rigPod("x", "b", 2), rigPod("y", "a", 3)];

function policy(isShadow: boolean): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "try", namespace: "x", ...(isShadow && { annotations: { "bpfleet.io/mode": "shadow" } }) },
    spec: {
      podSelector: { matchLabels: { pod: "a" } },
      policyTypes: ["Ingress"],
      ingress: [{ from: [{ podSelector: { matchLabels: { pod: "b" } } }], ports: [{ port: 80 }] }],
    },
  };
}

test("a policy that is only tried out drops nothing, and foretells what it drops once it is in force", async () => {
  await using rig = await PolicyRig.make("routed", pods);
  const world = pods.map((pod) => podObject(pod, rig.network.netns.get(podKey(pod)) ?? "", { pod: pod.name }));
  const namespaces = ["x", "y"].map((name) => namespaceObject(name, {}));
  const cells = (["ipv4", "ipv6"] as const).flatMap((family) => matrixOf(pods, family, ["TCP", "UDP"]));
  const answered = async (): Promise<readonly boolean[]> =>
    (await rig.prober.probe(cells, 400)).map((met) => met === "answered");

  await rig.change({ write: [...namespaces, ...world, policy(true)] });
  assert.deepEqual(
    (await answered()).filter((each) => !each),
    [],
    "nothing is dropped",
  );
  // Several reports in a row share one reading of the counters.
  await sleep(200);
  const report = await rig.change({});
  const status = report.objects.find(({ ref }) => ref.name === "try");
  const foretold = Number(
    /on its pods (\d+) flows that pass would be dropped, 0 that/.exec(JSON.stringify(status))?.[1],
  );

  await rig.change({ write: [policy(false)] });
  const dropped = (await answered()).filter((each) => !each).length;
  assert.ok(dropped > 0);
  assert.equal(foretold, dropped, JSON.stringify([status, rig.log]));
  await rig.change({ remove: [refOfPolicy(policy(false))] });
});
