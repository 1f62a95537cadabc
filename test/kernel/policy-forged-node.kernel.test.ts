import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import type { Socket } from "node:dgram";
import { test } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { InnerProcess } from "@bpfleet/native/testing";
import { nodeIpv4, nodeIpv6, podKey, rigPod } from "./policy-rig/pod-network.ts";
import { families, namespaceObject, notAsWritten, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";
import type { Probe } from "./policy-rig/prober.ts";

const a = rigPod("x", "a", 1);
/** Declared by nobody: somebody whose packets the node sends on. */
const outsider = rigPod("y", "outsider", 2);
const own = { ipv4: nodeIpv4, ipv6: nodeIpv6 };

const closed: KubeObject = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "closed", namespace: "x" },
  spec: { podSelector: {}, policyTypes: ["Ingress"] },
};
/** As docs/guides/policy.md has it. */
const guard = `table inet guard {
  chain prerouting {
    type filter hook prerouting priority raw
    iif != "lo" fib saddr type local drop
  }
}`;

test("what somebody sends with the node's own IPv6 address is taken for the node, until nftables drop it or the node has no right of its own", async () => {
  for (const hostAccess of ["auto", "never"] as const) {
    await using rig = await PolicyRig.make("routed", [a, outsider], { hostAccess });
    const { sandbox, node } = rig.network;
    const from = rig.network.netnsOf(outsider);
    await keepNeighbours(rig);
    for (const address of [`${nodeIpv4}/32`, `${nodeIpv6}/128`])
      sandbox.ip(from, "address", "add", address, "dev", "lo", ...(address.includes(":") ? ["nodad"] : []));
    const { objects } = await rig.change({
      write: [namespaceObject("x", {}), podObject(a, rig.network.netnsOf(a), { app: "a" }), closed],
    });
    assert.deepEqual(notAsWritten(objects, [refOfPolicy(closed)]), []);
    await using hearing = await InnerProcess.start({ netns: rig.network.netnsOf(a) });
    await using forging = await InnerProcess.start({ netns: from });
    await using beingNode = await InnerProcess.start({ netns: node.name });
    const heard = async (): Promise<readonly string[]> => {
      await hearing.run(listen, 7001);
      for (const family of families) {
        await forging.run(say, { from: own[family], to: a[family], text: `forged ${family}` });
        await forging.run(say, { from: outsider[family], to: a[family], text: `honest ${family}` });
        await beingNode.run(say, { from: own[family], to: a[family], text: `node ${family}` });
      }
      return hearing.run(whatWasSaid, 500);
    };
    const ofNode = families.map((family) => `node ${family}`);
    assert.deepEqual(await heard(), hostAccess === "never" ? [] : ["forged ipv6", ...ofNode], hostAccess);
    execFileSync("ip", ["netns", "exec", node.name, "nft", "-f", "-"], { input: guard });
    assert.deepEqual(await heard(), hostAccess === "never" ? [] : ofNode, `${hostAccess}, guarded`);
  }
});

/** Who asks for the node with the node's own address is not answered. */
async function keepNeighbours(rig: PolicyRig): Promise<void> {
  const probes = families.map((family): Probe => ({
    from: podKey(outsider),
    to: a[family],
    protocol: "UDP",
    port: 80,
  }));
  assert.deepEqual(await rig.prober.probe(probes, 5000), ["answered", "answered"]);
  const { sandbox } = rig.network;
  const from = rig.network.netnsOf(outsider);
  const shown = sandbox.ip(from, "-json", "neigh", "show");
  for (const { dst, dev, lladdr } of JSON.parse(shown) as readonly Neighbour[])
    if (lladdr !== undefined)
      sandbox.ip(from, "neigh", "replace", dst, "lladdr", lladdr, "dev", dev, "nud", "permanent");
}

interface Neighbour {
  readonly dst: string;
  readonly dev: string;
  readonly lladdr?: string;
}

interface Heard {
  socket: Socket;
  texts: Set<string>;
}

async function listen(port: number): Promise<void> {
  const { createSocket } = process.getBuiltinModule("node:dgram");
  const socket = createSocket("udp6");
  const texts = new Set<string>();
  socket.on("message", (message) => texts.add(String(message)));
  await new Promise<void>((done) => socket.bind(port, done));
  Object.assign(globalThis, { heard: { socket, texts } });
}

async function whatWasSaid(forMs: number): Promise<readonly string[]> {
  const { heard } = globalThis as unknown as { heard: Heard };
  await new Promise((done) => setTimeout(done, forMs));
  await new Promise<void>((done) => heard.socket.close(() => done()));
  return [...heard.texts].toSorted((a, b) => (a < b ? -1 : 1));
}

async function say({ from, to, text }: { from: string; to: string; text: string }): Promise<void> {
  const { createSocket } = process.getBuiltinModule("node:dgram");
  const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
  await new Promise<void>((done) => socket.bind({ address: from }, done));
  for (let count = 0; count < 3; count++) {
    await new Promise((done) => socket.send(text, 7001, to, done));
    await new Promise((done) => setTimeout(done, 20));
  }
  await new Promise<void>((done) => socket.close(() => done()));
}
