import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { hostRows, truthOf, truthPeers, truthProbes, type TruthRow } from "@bpfleet/kinds/testing";
import { nodeIpv4, podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import type { Probe } from "./policy-rig/prober.ts";
import { namespaceObject, notAsWritten, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const pods = [rigPod("x", "a", 1), rigPod("x", "b", 2), rigPod("y", "a", 3), rigPod("y", "b", 4)];
const there = "172.16.0.2";
const outside: readonly RigPod[] = [there, "203.0.113.9", "10.1.2.3", "10.96.0.5"].map((ipv4, at) => ({
  ...rigPod("outside", `o${at}`, 100 + at),
  ipv4,
}));
const places = [...pods.map(podKey), "node", ...outside.map(podKey)];
const addresses = [...pods.map(({ ipv4 }) => ipv4), nodeIpv4, ...outside.map(({ ipv4 }) => ipv4)];
const hostPlace = truthPeers.indexOf("host");
const probeNames = Object.keys(truthProbes) as (keyof typeof truthProbes)[];
const patientMs = 1000;
/** What was sent and is not allowed. */
const blocked = new Set<Probe>();

function nodeObject(name: string, address: string): KubeObject {
  const status = { addresses: [{ type: "InternalIP", address }] };
  return { apiVersion: "v1", kind: "Node", metadata: { name, labels: { role: name } }, spec: {}, status };
}

describe("the truth table of a node, with real packets", () => {
  let rig: PolicyRig;
  before(async () => {
    rig = await PolicyRig.make("routed", [...pods, ...outside], { ports: [80, 8085, 53] });
    await rig.change({
      write: [
        ...["x", "y"].map((name) => namespaceObject(name, { env: name })),
        ...pods.map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name })),
        nodeObject("rig", nodeIpv4),
        nodeObject("there", there),
      ],
    });
  });
  after(() => rig?.[Symbol.asyncDispose]());

  for (const [direction, rows] of Object.entries(hostRows))
    for (const row of rows)
      it(`${row[0]}, ${direction}`, async () => {
        const policies = row[1].map((policy, at) => ({ ...policy, metadata: { name: `p${at}` } }));
        const { trouble, objects } = await rig.change({ write: policies });
        try {
          assert.equal(trouble, undefined);
          assert.deepEqual(notAsWritten(objects, policies.map(refOfPolicy)), []);
          assert.deepEqual(await verdictsOf(rig, row, direction as "ingress"), expectedOf(row));
        } finally {
          await rig.change({ remove: policies.map(refOfPolicy) });
        }
      });

  it("no packet that was blocked arrived later", async () => {
    const late = await rig.prober.late();
    assert.ok(blocked.size > 0);
    assert.deepEqual(
      late.filter((probe) => blocked.has(probe)),
      [],
    );
  });
});

function expectedOf(row: TruthRow): Readonly<Record<string, string>> {
  return Object.fromEntries(probeNames.map((probe) => [probe, [...truthOf(row, probe)].with(hostPlace, "-").join("")]));
}

async function verdictsOf(rig: PolicyRig, row: TruthRow, direction: "ingress" | "egress"): Promise<object> {
  const asked = probeNames.flatMap((name) =>
    places.flatMap((place, at) => {
      if (at === hostPlace) return [];
      const { protocol, port } = truthProbes[name];
      const [sender, to] = direction === "ingress" ? [place, nodeIpv4] : ["node", addresses[at] ?? ""];
      return [{ name, at, probe: { from: sender, to, protocol, port: protocol === "ICMP" ? 0 : port } }];
    }),
  );
  for (const { name, at, probe } of asked) if (truthOf(row, name)[at] !== ".") blocked.add(probe);
  const found = [...(await rig.prober.probe(asked.map(({ probe }) => probe)))];
  // What ought to be answered is given more time.
  const silent = asked.flatMap(({ name, at }, index) =>
    found[index] !== "answered" && truthOf(row, name)[at] === "." ? [index] : [],
  );
  const again = await rig.prober.probe(
    silent.flatMap((index) => asked[index]?.probe ?? []),
    patientMs,
  );
  for (const [at, index] of silent.entries()) found[index] = again[at] ?? "nothing";
  const letters = new Map(
    asked.map(({ name, at }, index) => [`${name} ${at}`, found[index] === "answered" ? "." : "X"]),
  );
  return Object.fromEntries(
    probeNames.map((name) => [name, places.map((_, at) => letters.get(`${name} ${at}`) ?? "-").join("")]),
  );
}
