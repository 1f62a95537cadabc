import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { InnerProcess } from "@bpfleet/native/testing";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import type { Met, Probe, Protocol } from "./policy-rig/prober.ts";
import { PolicyRig } from "./policy-rig/policy-rig.ts";
import { layTunCable } from "./policy-rig/tun-cable.ts";

const far = { ...rigPod("outside", "far", 9), ipv4: "203.0.113.9" };
const ofNode = { ipv4: "10.8.0.1", ipv6: "fd08::1" } as const;
const ofFar = { ipv4: "10.8.0.2", ipv6: "fd08::2" } as const;
const families = ["ipv4", "ipv6"] as const;
const [open, closed] = [7000, 7001] as const;
/** Three fragments. */
const largeBytes = 4000;
const patientMs = 1000;

const toPorts = [
  {
    ports: [
      { port: "80", protocol: "TCP" },
      { port: String(open), protocol: "UDP" },
    ],
  },
];
const policy: KubeObject = {
  apiVersion: "cilium.io/v2",
  kind: "CiliumClusterwideNetworkPolicy",
  metadata: { name: "tunnel" },
  spec: {
    nodeSelector: {},
    ingress: [
      { fromCIDR: ["10.8.0.0/24", "fd08::/64"], toPorts },
      {
        icmps: [
          {
            fields: [
              { family: "IPv4", type: 8 },
              { family: "IPv6", type: 128 },
            ],
          },
        ],
      },
    ],
    egress: [{ toCIDR: ["10.8.0.0/24", "fd08::/64"], toPorts }],
  },
};

/** Sends back what comes to both ports. */
async function echo(at: InnerProcess): Promise<void> {
  await at.run(
    async ({ ports }) => {
      const { createSocket } = process.getBuiltinModule("node:dgram");
      for (const port of ports) {
        const socket = createSocket("udp6");
        socket.on("message", (message, { address, port }) => socket.send(message, port, address));
        await new Promise<void>((done) => socket.bind(port, "::", done));
      }
    },
    { ports: [open, closed] },
  );
}

/** A datagram in fragments, and what comes back of it; nobody answers what is dropped. */
function exchange(from: InnerProcess, address: string, port: number, isOpen: boolean): Promise<number> {
  return from.run(
    async ({ address, port, bytes, waitMs }) => {
      const { createSocket } = process.getBuiltinModule("node:dgram");
      const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
      const answered = new Promise<number>((done) => {
        socket.on("message", (message) => done(message.length));
        setTimeout(() => done(0), waitMs);
      });
      // A drop at the node's own hook may come back as an error.
      socket.send(new Uint8Array(bytes), port, address, () => undefined);
      const size = await answered;
      socket.close();
      return size;
    },
    { address, port, bytes: largeBytes, waitMs: isOpen ? 20_000 : patientMs },
  );
}

test(
  "policies of nodes judge what passes an interface without a header of a link, in fragments too",
  { skip: existsSync("/dev/net/tun") ? false : "there is no /dev/net/tun" },
  async () => {
    await using rig = await PolicyRig.make("routed", [far], { ports: [80, 81] });
    const { node, sandbox } = rig.network;
    const farNetns = rig.network.netnsOf(far);
    await using _cable = await layTunCable(sandbox.dir, [
      { netns: node.path, name: "tun0" },
      { netns: `/run/netns/${farNetns}`, name: "tun0" },
    ]);
    for (const [netns, { ipv4, ipv6 }] of [
      [node.name, ofNode],
      [farNetns, ofFar],
    ] as const) {
      sandbox.ip(netns, "address", "add", `${ipv4}/24`, "dev", "tun0");
      sandbox.ip(netns, "address", "add", `${ipv6}/64`, "dev", "tun0", "nodad");
      sandbox.ip(netns, "link", "set", "tun0", "up");
    }
    const into = (protocol: Protocol, port: number): readonly Probe[] =>
      families.map((family) => ({ from: podKey(far), to: ofNode[family], protocol, port }));
    const outOf = (protocol: Protocol, port: number): readonly Probe[] =>
      families.map((family) => ({ from: "node", to: ofFar[family], protocol, port }));
    const allowed = [...into("TCP", 80), ...into("ICMP", 0), ...outOf("TCP", 80)];
    const denied = [
      ...into("TCP", 81),
      ...into("UDP", 80),
      ...outOf("TCP", 81),
      ...outOf("UDP", 80),
      ...outOf("ICMP", 0),
    ];
    const met = (probes: readonly Probe[]): Promise<readonly Met[]> => rig.prober.probe(probes, patientMs);
    const all = (probes: readonly Probe[], met: Met): readonly Met[] => probes.map(() => met);
    const both = [...allowed, ...denied];
    assert.deepEqual(await met(both), all(both, "answered"), "without a policy");

    const { trouble, objects } = await rig.change({ write: [policy] });
    assert.deepEqual([trouble, objects.find(({ ref }) => ref.name === "tunnel")?.state], [undefined, "in-force"]);
    const isClosed = async (): Promise<boolean> => (await met(denied)).every((each) => each === "nothing");
    for (const end = performance.now() + 30_000; !(await isClosed());)
      assert.ok(performance.now() < end, JSON.stringify(await met(denied)));
    assert.deepEqual(await met(allowed), all(allowed, "answered"));

    await using here = await InnerProcess.start({ netns: node.name });
    await using there = await InnerProcess.start({ netns: farNetns });
    await echo(here);
    await echo(there);
    for (const family of families) {
      const sizes = await Promise.all([
        exchange(there, ofNode[family], open, true),
        exchange(here, ofFar[family], open, true),
        exchange(there, ofNode[family], closed, false),
        exchange(here, ofFar[family], closed, false),
      ]);
      assert.deepEqual(sizes, [largeBytes, largeBytes, 0, 0], family);
      const ping = (netns: string, address: string, waitSeconds: number): number | null =>
        spawnSync("ip", ["netns", "exec", netns, "ping", "-c1", `-W${waitSeconds}`, `-s${largeBytes}`, address]).status;
      assert.equal(ping(farNetns, ofNode[family], 20), 0, `${family}: large echo`);
      assert.equal(ping(node.name, ofFar[family], 1), 1, `${family}: large echo of the node`);
    }
    await rig.change({
      remove: [{ group: "cilium.io", kind: "CiliumClusterwideNetworkPolicy", namespace: "", name: "tunnel" }],
    });
    assert.deepEqual(await met(denied), all(denied, "answered"));
  },
);
