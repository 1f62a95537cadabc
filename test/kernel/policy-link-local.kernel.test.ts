import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [server, client] = [rigPod("x", "server", 1), rigPod("x", "client", 2)];
const [serverOnLink, clientOnLink] = ["fe80::aa", "fe80::bb"];
const podCidr = "fd00:192:168:1::/64";
/** An answer is waited for no longer than it takes. */
const [patientMs, silentMs] = [5000, 400];

type Rules = Readonly<Record<"ingress" | "egress", object>>;

function cilium(peers: object): Rules {
  return { ingress: { ingress: [prefixed("from", peers)] }, egress: { egress: [prefixed("to", peers)] } };
}

/** `{ Entities: [...] }` as `fromEntities` or `toEntities`. */
function prefixed(of: "from" | "to", peers: object): object {
  return Object.fromEntries(Object.entries(peers).map(([name, value]) => [of + name, value as unknown]));
}

function ipBlock(block: object): Rules {
  return {
    ingress: { policyTypes: ["Ingress"], ingress: [{ from: [{ ipBlock: block }] }] },
    egress: { policyTypes: ["Egress"], egress: [{ to: [{ ipBlock: block }] }] },
  };
}

const shut: readonly (readonly [string, Rules, "cilium" | "kubernetes"])[] = [
  ["entity world", cilium({ Entities: ["world"] }), "cilium"],
  ["entity world-ipv6", cilium({ Entities: ["world-ipv6"] }), "cilium"],
  ["entity cluster", cilium({ Entities: ["cluster"] }), "cilium"],
  ["CIDR ::/0", cilium({ CIDR: ["::/0"] }), "cilium"],
  ["ipBlock ::/0", ipBlock({ cidr: "::/0" }), "kubernetes"],
  ["ipBlock ::/0 without the pods", ipBlock({ cidr: "::/0", except: [podCidr] }), "kubernetes"],
];
const open: typeof shut = [
  ["entity all", cilium({ Entities: ["all"] }), "cilium"],
  ["CIDR fe80::/10", cilium({ CIDR: ["fe80::/10"] }), "cilium"],
  ["ipBlock of their own link", ipBlock({ cidr: "fe80::/64" }), "kubernetes"],
];

function policyOf(of: "cilium" | "kubernetes", app: string, rules: object): KubeObject {
  const matchLabels = { app };
  const metadata = { name: "p", namespace: "x" };
  return of === "cilium"
    ? {
        apiVersion: "cilium.io/v2",
        kind: "CiliumNetworkPolicy",
        metadata,
        spec: { endpointSelector: { matchLabels }, ...rules },
      }
    : {
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata,
        spec: { podSelector: { matchLabels }, ...rules },
      };
}

describe("link-local addresses, between pods of one bridge", () => {
  let rig: PolicyRig;
  before(async () => {
    rig = await PolicyRig.make("bridged", [server, client]);
    const { sandbox } = rig.network;
    for (const [pod, address] of [
      [server, serverOnLink],
      [client, clientOnLink],
    ] as const)
      sandbox.ip(rig.network.netnsOf(pod), "address", "add", `${address}/64`, "dev", "eth0", "nodad");
    const pods = [server, client].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
    await rig.change({ write: [namespaceObject("x", {}), ...pods] });
  });
  after(() => rig?.[Symbol.asyncDispose]());

  async function isReached(waitMs = patientMs): Promise<boolean> {
    const probe = { from: podKey(client), to: `${serverOnLink}%eth0`, protocol: "TCP", port: 80 } as const;
    const [met] = await rig.prober.probe([probe], waitMs);
    return met === "answered";
  }

  for (const [rules, passes] of [
    [shut, false],
    [open, true],
  ] as const)
    for (const [what, of, kind] of rules)
      for (const direction of ["ingress", "egress"] as const)
        it(`${what}, ${direction}: a pod is ${passes ? "" : "not "}reached by its link-local address`, async () => {
          assert.equal(await isReached(), true, "without a policy");
          const policy = policyOf(kind, direction === "ingress" ? "server" : "client", of[direction]);
          const { objects, trouble } = await rig.change({ write: [policy] });
          assert.equal(trouble, undefined, rig.log);
          assert.equal(objects.find(({ ref }) => ref.name === "p")?.state, "in-force", JSON.stringify(objects));
          try {
            assert.equal(await isReached(passes ? patientMs : silentMs), passes);
          } finally {
            await rig.change({ remove: [refOfPolicy(policy)] });
          }
        });

  it("a denial of pods, or of the world, holds for link-local addresses too", async () => {
    for (const denied of [{ Entities: ["world"] }, { Endpoints: [{ matchLabels: { app: "client" } }] }]) {
      const rules = { ingress: [{ fromEntities: ["all"] }], ingressDeny: [prefixed("from", denied)] };
      const policy = policyOf("cilium", "server", rules);
      await rig.change({ write: [policy] });
      assert.equal(await isReached(silentMs), false, JSON.stringify(denied));
      await rig.change({ remove: [refOfPolicy(policy)] });
    }
  });
});
