import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { KubeObject } from "@bpfleet/kinds";
import { nodeIpv4, nodeIpv6, podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import { families, namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [web, east, west, world] = [
  rigPod("x", "web", 1),
  // Other nodes, and somebody of whom nobody knows anything.
  rigPod("nodes", "east", 101),
  rigPod("nodes", "west", 102),
  rigPod("world", "any", 103),
];
const patientMs = 400;

function nodeObject(name: string, { ipv4, ipv6 }: Pick<RigPod, "ipv4" | "ipv6">, zone: string): KubeObject {
  const addresses = [ipv4, ipv6].map((address) => ({ type: "InternalIP", address }));
  return { apiVersion: "v1", kind: "Node", metadata: { name, labels: { zone } }, spec: {}, status: { addresses } };
}

function policy(spec: object): KubeObject {
  const endpointSelector = { matchLabels: { app: "web" } };
  const metadata = { name: "p", namespace: "x" };
  return { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata, spec: { endpointSelector, ...spec } };
}

describe("fromNodes and toNodes, with real packets", () => {
  const here = { ipv4: nodeIpv4, ipv6: nodeIpv6 };
  const places = { node: here, [podKey(east)]: east, [podKey(west)]: west, [podKey(world)]: world };
  let rig: PolicyRig;
  before(async () => {
    rig = await PolicyRig.make("routed", [web, east, west, world], { hostAccess: "never" });
    await rig.change({
      write: [
        namespaceObject("x", {}),
        podObject(web, rig.network.netnsOf(web), { app: "web" }),
        nodeObject("rig", here, "east"),
        nodeObject("east", east, "east"),
        nodeObject("west", west, "west"),
      ],
    });
  });
  after(() => rig?.[Symbol.asyncDispose]());

  /** Who reaches the pod, or is reached by it, and at which ports; both families must agree. */
  async function reached(direction: "ingress" | "egress"): Promise<string> {
    const probes = Object.entries(places).flatMap(([name, place]) =>
      [80, 81].flatMap((port) =>
        families.map((family) => {
          const [from, to] = direction === "ingress" ? [name, web[family]] : [podKey(web), place[family]];
          return { name, family, probe: { from, to, protocol: "TCP", port } as const };
        }),
      ),
    );
    const met = await rig.prober.probe(
      probes.map(({ probe }) => probe),
      patientMs,
    );
    const of = (asked: string): string =>
      probes
        .flatMap(({ name, family, probe }, at) =>
          family === asked && met[at] === "answered" ? [`${name.split("/").at(-1)} ${probe.port}`] : [],
        )
        .join(", ");
    assert.equal(of("ipv6"), of("ipv4"));
    return of("ipv4");
  }

  async function put(...objects: readonly KubeObject[]): Promise<void> {
    const { objects: all, trouble } = await rig.change({ write: objects });
    assert.equal(trouble, undefined, rig.log);
    assert.equal(all.find(({ ref }) => ref.name === "p")?.state, "in-force", JSON.stringify(all));
  }

  const toPorts = [{ ports: [{ port: "80", protocol: "TCP" }] }];
  const inEast = [{ matchLabels: { zone: "east" } }];
  const everything = "node 80, node 81, east 80, east 81, west 80, west 81, any 80, any 81";

  it("fromNodes means nodes by their labels, this one too, at the ports beside it, and follows the labels", async () => {
    assert.equal(await reached("ingress"), everything);
    await put(policy({ ingress: [{ fromNodes: inEast, toPorts }] }));
    assert.equal(await reached("ingress"), "node 80, east 80");
    assert.equal(await reached("egress"), everything);
    await put(nodeObject("west", west, "east"), nodeObject("rig", here, "west"));
    assert.equal(await reached("ingress"), "east 80, west 80");
    await put(nodeObject("west", west, "west"), nodeObject("rig", here, "east"));
    assert.equal(await reached("ingress"), "node 80, east 80");
  });

  it("toNodes likewise", async () => {
    await put(policy({ egress: [{ toNodes: inEast, toPorts }] }));
    assert.equal(await reached("egress"), "node 80, east 80");
    assert.equal(await reached("ingress"), everything);
    await put(nodeObject("east", east, "west"));
    assert.equal(await reached("egress"), "node 80");
    await put(nodeObject("east", east, "east"));
  });

  it("denials of nodes hold beside rules that allow everybody", async () => {
    const all = { ingress: [{ fromEntities: ["all"] }], egress: [{ toEntities: ["all"] }] };
    await put(policy({ ...all, ingressDeny: [{ fromNodes: inEast }], egressDeny: [{ toNodes: inEast, toPorts }] }));
    assert.equal(await reached("ingress"), "west 80, west 81, any 80, any 81");
    assert.equal(await reached("egress"), "node 81, east 81, west 80, west 81, any 80, any 81");
    await rig.change({ remove: [refOfPolicy(policy({}))] });
    assert.equal(await reached("ingress"), everything);
  });
});

it("a pod on macvlan or ipvlan is open, its policy says so and what helps; with an interface of its own it is judged", async (context) => {
  const [pod, other] = [rigPod("x", "pod", 1), rigPod("x", "other", 2)];
  await using rig = await PolicyRig.make("bridged", [pod, other]);
  const { network } = rig;
  const { sandbox, node } = network;
  const netns = network.netnsOf(pod);
  // As plug-ins make it: on an interface of the node, which is in the bridge of the others here.
  sandbox.ip(node.name, "link", "add", "up0", "type", "veth", "peer", "name", "up1");
  sandbox.ip(node.name, "link", "set", "up1", "master", "br0");
  for (const name of ["up0", "up1"]) sandbox.ip(node.name, "link", "set", name, "up");
  const closed: KubeObject = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "closed", namespace: "x" },
    spec: { podSelector: { matchLabels: { app: "pod" } }, policyTypes: ["Ingress", "Egress"] },
  };
  const pods = [pod, other].map((each) => podObject(each, network.netnsOf(each), { app: each.name }));
  const until = async (isSo: (own: { readonly state: string }) => boolean): Promise<string> => {
    const begunMs = performance.now();
    for (;;) {
      const { objects } = await rig.change({});
      const own = objects.find(({ ref }) => ref.name === "closed");
      if (own !== undefined && isSo(own)) return JSON.stringify(own);
      assert.ok(performance.now() - begunMs < 60_000, JSON.stringify(own));
      await sleep(50);
    }
  };
  const probes = [
    { from: podKey(other), to: pod.ipv4, protocol: "TCP", port: 80 },
    { from: podKey(pod), to: other.ipv4, protocol: "TCP", port: 80 },
  ] as const;
  await rig.change({ write: [namespaceObject("x", {}), ...pods, closed] });
  for (const kind of ["macvlan", "ipvlan"]) {
    assert.deepEqual(await rig.prober.probe(probes, patientMs), ["nothing", "nothing"]);
    network.unwire(pod);
    try {
      sandbox.ip(node.name, "link", "add", "link", "up0", "name", "lan0", "netns", netns, "type", kind);
    } catch (error) {
      assert.match(String(error), /Unknown device type|not supported/);
      context.diagnostic(`this kernel has no ${kind}`);
      network.wire(pod);
      await until(({ state }) => state === "in-force");
      continue;
    }
    sandbox.ip(netns, "link", "set", "lan0", "up");
    sandbox.ip(netns, "address", "add", `${pod.ipv4}/24`, "dev", "lan0");
    const told = await until((own) => JSON.stringify(own).includes(kind));
    assert.doesNotMatch(told, /"state":"in-force"/);
    assert.match(told, new RegExp(`lan0 in network namespace \\S+ is an interface of kind ${kind}: `));
    assert.match(
      told,
      /have the network plug-in give pods a veth pair \(bridge, ptp\), or write a policy for the host/,
    );
    assert.deepEqual(await rig.prober.probe(probes, 5000), ["answered", "answered"]);
    sandbox.ip(netns, "link", "delete", "lan0");
    network.wire(pod);
    await until(({ state }) => state === "in-force");
  }
});
