import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import { families, namespaceObject, notAsWritten, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [own, peer] = [rigPod("x", "own", 1), rigPod("x", "peer", 2)];
const patientMs = 5000;
const [quietMs, pokes] = [40, 5];

type Direction = "ingress" | "egress";
const sides = { ingress: "from", egress: "to" } as const;
const both = ["ingress", "egress"] as const;
const peerLabels = { matchLabels: { app: "peer" } };
const ownLabels = { matchLabels: { app: "own" } };

/** A policy about `own` and its port 80 in one direction, which allows `peer` or does not. */
interface Form {
  readonly apiVersion: string;
  readonly isOfCluster?: true;
  readonly directions: readonly Direction[];
  readonly spec: (direction: Direction, isAllowed: boolean) => object;
}

function ciliumSpec(direction: Direction, isAllowed: boolean): object {
  const peers = [{ [`${sides[direction]}Endpoints`]: [peerLabels] }];
  return isAllowed
    ? { endpointSelector: ownLabels, [direction]: peers }
    : { endpointSelector: ownLabels, [direction]: [{}], [`${direction}Deny`]: peers };
}

const forms: Readonly<Record<string, Form>> = {
  NetworkPolicy: {
    apiVersion: "networking.k8s.io/v1",
    directions: both,
    spec: (direction, isAllowed) => ({
      podSelector: ownLabels,
      policyTypes: [direction === "ingress" ? "Ingress" : "Egress"],
      [direction]: isAllowed ? [{ [sides[direction]]: [{ podSelector: peerLabels }] }] : [],
    }),
  },
  CiliumNetworkPolicy: { apiVersion: "cilium.io/v2", directions: both, spec: ciliumSpec },
  CiliumClusterwideNetworkPolicy: {
    apiVersion: "cilium.io/v2",
    isOfCluster: true,
    directions: both,
    spec: ciliumSpec,
  },
  EBPFNetworkPolicy: {
    apiVersion: "networking.fos1.io/v1alpha1",
    directions: both,
    spec: (direction, isAllowed) => ({
      policyType: "filtering",
      selector: { podSelector: ownLabels },
      [direction]: [
        ...(isAllowed ? [{ [sides[direction]]: [{ podSelector: peerLabels }], action: "allow" }] : []),
        { action: "deny" },
      ],
    }),
  },
  EBPFContainerPolicy: {
    apiVersion: "networking.fos1.io/v1alpha1",
    directions: both,
    spec: (direction, isAllowed) => {
      const name = direction === "ingress" ? "Ingress" : "Egress";
      return {
        selector: { podSelector: ownLabels },
        networkControls: {
          [`enable${name}Control`]: true,
          [`default${name}Action`]: "deny",
          [`${direction}Rules`]: [
            { ports: (["TCP", "UDP"] as const).map((protocol) => ({ protocol, port: isAllowed ? 80 : 99 })) },
          ],
        },
      };
    },
  },
  PodConfigMapConfig: {
    apiVersion: "podconfig.example.com/v1alpha1",
    // Its firewall is about ports at which pods are reached.
    directions: ["ingress"],
    spec: (_, isAllowed) => ({
      podSelector: ownLabels,
      ebpfConfig: { l4Firewall: { enabled: true, defaultAction: "block", allowedPorts: [isAllowed ? 80 : 99] } },
    }),
  },
};

for (const [kind, { apiVersion, isOfCluster, directions, spec }] of Object.entries(forms))
  test(`connections that a ${kind} ceases to allow are cut, and live on where it says keep; new ones never pass`, async () => {
    await using rig = await PolicyRig.make("routed", [own, peer]);
    const pods = [own, peer].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
    await rig.change({ write: [namespaceObject("x", {}), ...pods] });
    const written = async (policy: KubeObject): Promise<void> => {
      const { objects, trouble } = await rig.change({ write: [policy] });
      assert.equal(trouble, undefined, rig.log);
      assert.deepEqual(notAsWritten(objects, [refOfPolicy(policy)]), []);
    };
    for (const direction of directions)
      for (const onRevoke of ["cut", "keep"] as const) {
        const told = `${direction}, ${onRevoke}`;
        const make = (isAllowed: boolean): KubeObject & { readonly spec: object } => ({
          apiVersion,
          kind,
          metadata: {
            name: "own",
            ...(isOfCluster !== true && { namespace: "x" }),
            annotations: { "bpfleet.io/on-revoke": onRevoke },
          },
          spec: spec(direction, isAllowed),
        });
        const [from, to] = direction === "ingress" ? [peer, own] : [own, peer];
        const probes = families.flatMap((family) =>
          (["TCP", "UDP"] as const).map((protocol) => ({ from: podKey(from), to: to[family], protocol, port: 80 })),
        );
        await written(make(true));
        const flows: number[] = [];
        for (const probe of probes)
          flows.push((await rig.prober.open(probe)) ?? assert.fail(`${told}: not opened: ${JSON.stringify(probe)}`));
        for (const flow of flows) assert.equal(await rig.prober.poke(flow, patientMs), "answered", told);
        await written(make(false));
        for (const flow of flows)
          if (onRevoke === "keep") assert.equal(await rig.prober.poke(flow, patientMs), "answered", told);
          else
            for (let each = 0; each < pokes; each++)
              assert.equal(await rig.prober.poke(flow, quietMs), "nothing", told);
        assert.deepEqual(
          await rig.prober.probe(probes, quietMs * pokes),
          probes.map(() => "nothing"),
          told,
        );
        for (const flow of flows) await rig.prober.close(flow);
        assert.deepEqual(await rig.prober.late(), [], told);
        await rig.change({ remove: [refOfPolicy(make(false))] });
      }
  });
