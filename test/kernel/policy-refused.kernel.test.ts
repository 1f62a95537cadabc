import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import { families, namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [a, b] = [rigPod("x", "a", 1), rigPod("x", "b", 2)];
const pods = [a, b];
const patientMs = 400;

function networkPolicy(spec: object): KubeObject {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "n", namespace: "x" }, spec };
}

describe("policies that cannot be enforced, with real packets", () => {
  let rig: PolicyRig;
  before(async () => {
    rig = await PolicyRig.make("routed", pods, { ports: [80, 81] });
    await rig.change({
      write: [
        namespaceObject("x", { env: "x" }),
        ...pods.map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name })),
      ],
    });
  });
  after(() => rig?.[Symbol.asyncDispose]());

  /** Ports that answer, by both families alike. */
  async function answered(from: RigPod, to: RigPod): Promise<string> {
    const probes = families.flatMap((family) =>
      [80, 81].map((port) => ({ from: podKey(from), to: to[family], protocol: "TCP", port }) as const),
    );
    const met = await rig.prober.probe(probes, patientMs);
    return probes.flatMap(({ port }, at) => (met[at] === "answered" ? [port] : [])).join(" ");
  }

  async function stateOf(policy: KubeObject): Promise<string> {
    const { objects } = await rig.change({ write: [policy] });
    return JSON.stringify(objects.find(({ ref }) => ref.kind === policy.kind)?.status);
  }

  it("a NetworkPolicy that was never sound isolates what it selects, until it is corrected", async () => {
    const rules = (cidr: string) => ({ ingress: [{ from: [{ ipBlock: { cidr } }], ports: [{ port: 80 }] }] });
    const selector = { podSelector: { matchLabels: { app: "a" } } };
    assert.equal(await answered(b, a), "80 81 80 81");
    const status = await stateOf(networkPolicy({ ...selector, ...rules("010.0.0.0/8") }));
    assert.match(status, /"reason":"Invalid".*until it is corrected, the pods that it selects are closed in ingress/);
    assert.equal(await answered(b, a), "");
    assert.equal(await answered(a, b), "80 81 80 81");
    await rig.change({ write: [networkPolicy({ ...selector, ...rules("0.0.0.0/0") })] });
    assert.equal(await answered(b, a), "80");
    await rig.change({ remove: [refOfPolicy(networkPolicy({}))] });
    assert.equal(await answered(b, a), "80 81 80 81");
  });

  it("a rule with a field that nobody knows lets nobody through, the others do", async () => {
    const ingress = [{ ports: [{ port: 80 }] }, { form: [{ podSelector: {} }], ports: [{ port: 81 }] }];
    assert.match(await stateOf(networkPolicy({ ingress })), /nobody is let through by a rule with a field/);
    assert.equal(await answered(b, a), "80 80");
    await rig.change({ remove: [refOfPolicy(networkPolicy({}))] });
  });
});
