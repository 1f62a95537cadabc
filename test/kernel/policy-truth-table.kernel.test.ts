import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { egressRows, ingressRows, truthOf, truthPeers, truthProbes, type TruthRow } from "@bpfleet/kinds/testing";
import { nodeIpv4, podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import type { Met, Probe } from "./policy-rig/prober.ts";
import { namespaceObject, notAsWritten, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const pods = [rigPod("x", "a", 1), rigPod("x", "b", 2), rigPod("y", "a", 3), rigPod("y", "b", 4)];
const there = "172.16.0.2";
/** Whoever is no pod of this node. */
const outside: readonly RigPod[] = [there, "203.0.113.9", "10.1.2.3", "10.96.0.5"].map((ipv4, at) => ({
  ...rigPod("outside", `o${at}`, 100 + at),
  ipv4,
}));
const [subject] = pods;
assert.ok(subject);
const places = [...pods.map(podKey), "node", ...outside.map(podKey)];
const addresses = [...pods.map(({ ipv4 }) => ipv4), nodeIpv4, ...outside.map(({ ipv4 }) => ipv4)];
const hostPlace = truthPeers.indexOf("host");
const probeNames = Object.keys(truthProbes) as (keyof typeof truthProbes)[];
const patientMs = 1000;
/** What was sent and is not allowed. */
const blocked = new Set<Probe>();

type Verdicts = Readonly<Record<string, string>>;

function nodeObject(name: string, address: string): KubeObject {
  const status = { addresses: [{ type: "InternalIP", address }] };
  return { apiVersion: "v1", kind: "Node", metadata: { name }, spec: {}, status };
}

for (const hostAccess of ["auto", "never"] as const) {
  describe(`the truth table, with real packets, where the access of the local host is ${hostAccess}`, () => {
    let rig: PolicyRig;
    before(async () => {
      rig = await PolicyRig.make("routed", [...pods, ...outside], { ports: [80, 8085, 53], hostAccess });
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

    for (const [direction, rows] of [
      ["ingress", ingressRows],
      ["egress", egressRows],
    ] as const) {
      for (const row of rows)
        it(`${row[0]}, ${direction}`, async () => {
          const policies = row[1].map((policy, at) => ({
            ...policy,
            metadata: { ...policy.metadata, name: `p${at}` },
          }));
          const { trouble, objects } = await rig.change({ write: policies });
          try {
            assert.equal(trouble, undefined);
            assert.deepEqual(notAsWritten(objects, policies.map(refOfPolicy)), []);
            const expected = expectedOf(row, direction, hostAccess);
            assert.deepEqual(await verdictsOf(rig, expected, direction), expected);
          } finally {
            await rig.change({ remove: policies.map(refOfPolicy) });
          }
        });
    }

    it("no packet that was blocked arrived later", async () => {
      const late = await rig.prober.late();
      assert.ok(blocked.size > 0);
      assert.deepEqual(
        late.filter((probe) => blocked.has(probe)),
        [],
      );
    });
  });
}

/** What a pod sends to itself passes no interface of the node. */
const ownPlace = 0;

function expectedOf(row: TruthRow, direction: string, hostAccess: string): Verdicts {
  const letters = (probe: keyof typeof truthProbes): string =>
    [...truthOf(row, probe)]
      .map((letter, at) => {
        if (at === ownPlace) return "-";
        return at === hostPlace && direction === "ingress" && hostAccess === "auto" ? "." : letter;
      })
      .join("");
  return Object.fromEntries(probeNames.map((probe) => [probe, letters(probe)]));
}

async function verdictsOf(rig: PolicyRig, expected: Verdicts, direction: "ingress" | "egress"): Promise<Verdicts> {
  const asked = probeNames.flatMap((name) =>
    places.flatMap((place, at) => (at === ownPlace ? [] : [{ name, at, probe: probeOf(name, place, at, direction) }])),
  );
  for (const { name, at, probe } of asked) if (expected[name]?.[at] !== ".") blocked.add(probe);
  const met = [...(await rig.prober.probe(asked.map(({ probe }) => probe)))];
  // What ought to be answered is given more time.
  const silent = asked.flatMap(({ name, at }, index) =>
    met[index] !== "answered" && expected[name]?.[at] === "." ? [index] : [],
  );
  const again = await rig.prober.probe(
    silent.flatMap((index) => asked[index]?.probe ?? []),
    patientMs,
  );
  for (const [at, index] of silent.entries()) met[index] = again[at] ?? "nothing";
  const found = new Map<string, Met>(asked.map(({ name, at }, index) => [`${name} ${at}`, met[index] ?? "nothing"]));
  const letterOf = (name: string, at: number): string =>
    at === ownPlace ? "-" : found.get(`${name} ${at}`) === "answered" ? "." : "X";
  return Object.fromEntries(probeNames.map((name) => [name, places.map((_, at) => letterOf(name, at)).join("")]));
}

function probeOf(name: keyof typeof truthProbes, place: string, at: number, direction: "ingress" | "egress"): Probe {
  const { protocol, port } = truthProbes[name];
  const own = podKey(pods[ownPlace] ?? assert.fail());
  const [from, to] = direction === "ingress" ? [place, addresses[ownPlace]] : [own, addresses[at]];
  return { from, to: to ?? "", protocol, port: protocol === "ICMP" ? 0 : port };
}
