import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseManifest, type KubeObject } from "@bpfleet/kinds";
import { InnerProcess } from "@bpfleet/native/testing";
import { podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import type { Met } from "./policy-rig/prober.ts";
import { families, notAsWritten, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const samples = join(import.meta.dirname, "../../packages/kinds/src/networking.fos1.io/ebpfnetworkpolicy/samples");
const patientMs = 600;

function objectsOf(yaml: string): readonly KubeObject[] {
  const { objects, issues } = parseManifest(yaml, "test.yaml");
  assert.deepEqual(issues, []);
  return objects.map(({ value }) => value as unknown as KubeObject);
}

/** Of pods with labels and named ports. */
function podYaml({ namespace, name }: RigPod, netns: string, ports: Readonly<Record<string, number>> = {}): string {
  const named = Object.entries(ports).map(([port, number]) => `{ name: ${port}, containerPort: ${number} }`);
  return `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: { app: ${name} }, annotations: { bpfleet.io/netns: ${netns} } }
spec: { containers: [{ name: c, image: none, ports: [${named.join(", ")}] }] }
`;
}

const shop = `---
apiVersion: v1
kind: Namespace
metadata: { name: x }
`;

test("a named port of a CiliumNetworkPolicy is each pod's own, from YAML to packets", async () => {
  const [one, two, client] = [rigPod("x", "one", 1), rigPod("x", "two", 2), rigPod("x", "client", 3)];
  await using rig = await PolicyRig.make("routed", [one, two, client], { ports: [80, 81] });
  const netnsOf = (pod: RigPod): string => rig.network.netnsOf(pod);
  const pods = (ports: readonly [number, number]): string =>
    podYaml(one, netnsOf(one), { web: ports[0] }) +
    podYaml(two, netnsOf(two), { web: ports[1] }) +
    podYaml(client, netnsOf(client));
  const received = `---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: named, namespace: x }
spec:
  endpointSelector: { matchExpressions: [{ key: app, operator: In, values: [one, two] }] }
  ingress:
    - fromEndpoints: [{ matchLabels: { app: client } }]
      toPorts: [{ ports: [{ port: web, protocol: TCP }] }]
`;
  const sent = `---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: named, namespace: x }
spec:
  endpointSelector: { matchLabels: { app: client } }
  egress:
    - toEndpoints: [{}]
      toPorts: [{ ports: [{ port: web, protocol: TCP }] }]
`;
  const open = async (): Promise<readonly string[]> => {
    const probes = families.flatMap((family) =>
      [one, two].flatMap((to) =>
        [80, 81].flatMap((port) =>
          (["TCP", "UDP"] as const).map((protocol) => ({ from: podKey(client), to: to[family], protocol, port })),
        ),
      ),
    );
    const met = await rig.prober.probe(probes, patientMs);
    return probes.flatMap(({ to, protocol, port }, at) =>
      met[at] === "answered" ? [`${to} ${protocol}/${port}`] : [],
    );
  };
  const expected = (ports: readonly [number, number]): readonly string[] =>
    families.flatMap((family) => [`${one[family]} TCP/${ports[0]}`, `${two[family]} TCP/${ports[1]}`]);
  await rig.change({ write: objectsOf(shop + pods([80, 81])) });
  for (const policy of [received, sent]) {
    for (const ports of [
      [80, 81],
      [81, 81],
      [80, 81],
    ] as const) {
      const { objects, trouble } = await rig.change({ write: objectsOf(pods(ports) + policy) });
      assert.equal(trouble, undefined, rig.log);
      assert.deepEqual(notAsWritten(objects, objectsOf(policy).map(refOfPolicy)), []);
      assert.deepEqual(await open(), expected(ports));
    }
    await rig.change({ remove: objectsOf(policy).map(refOfPolicy) });
  }
});

test("the document's EBPFNetworkPolicy protects its pods: ports, a block of addresses and a rate, from YAML to packets", async () => {
  const [server, client] = [rigPod("default", "api-server", 1), rigPod("default", "client", 2)];
  const outside = ["10.1.2.3", "203.0.113.9"].map((ipv4, at) => ({ ...rigPod("outside", `o${at}`, 100 + at), ipv4 }));
  const [inBlock, beyond] = outside;
  assert.ok(inBlock && beyond);
  const ports = [443, 8080, 5432, 80];
  await using rig = await PolicyRig.make("routed", [server, client, ...outside], { ports });
  const policy = readFileSync(join(samples, "api-server-protection.yaml"), "utf8");
  const pods = [server, client].map((pod) => podYaml(pod, rig.network.netnsOf(pod)));
  const { objects, trouble } = await rig.change({
    write: objectsOf(`---
apiVersion: v1
kind: Namespace
metadata: { name: default }
${pods.join("")}---
${policy}`),
  });
  assert.equal(trouble, undefined, rig.log);
  assert.deepEqual(notAsWritten(objects, objectsOf(policy).map(refOfPolicy)), []);

  const met = async (from: RigPod, to: RigPod): Promise<Readonly<Record<number, Met | undefined>>> => {
    const probes = ports.map((port) => ({ from: podKey(from), to: to.ipv4, protocol: "TCP", port }) as const);
    const all = await rig.prober.probe(probes, patientMs);
    return Object.fromEntries(ports.map((port, at) => [port, all[at]]));
  };
  const everything = { 443: "answered", 8080: "answered", 5432: "answered", 80: "answered" };
  assert.deepEqual(await met(client, server), everything, "it ends with no rule that denies, and so is open");
  assert.deepEqual(await met(server, inBlock), { 443: "nothing", 8080: "nothing", 5432: "answered", 80: "nothing" });
  for (const other of [beyond, client])
    assert.deepEqual(await met(server, other), { 443: "nothing", 8080: "nothing", 5432: "nothing", 80: "nothing" });
  await rig.prober[Symbol.asyncDispose]();

  await using sink = await InnerProcess.start({ netns: rig.network.netnsOf(server) });
  await using source = await InnerProcess.start({ netns: rig.network.netnsOf(client) });
  await sink.run(swallow, { ports: [443, 8080] });
  const pushed = async (
    port: number,
    bytes: number,
    forMs: number,
  ): Promise<{ readonly bytes: number; readonly seconds: number }> => {
    const begunMs = performance.now();
    await source.run(push, { to: server.ipv4, port, bytes, forMs });
    const swallowed = await sink.run(readSwallowed, { port, bytes, forMs: port === 443 ? forMs : 0 });
    return { bytes: swallowed, seconds: (performance.now() - begunMs) / 1000 };
  };
  const { bitsPerSecond, burstSize } = { bitsPerSecond: 1_000_000, burstSize: 32_768 };
  assert.match(policy, new RegExp(`bitsPerSecond: ${bitsPerSecond} .*\n +burstSize: ${burstSize} `));
  const limited = await pushed(8080, 64 << 20, 3000);
  // A packet that was joined of several passes by a full bucket, though it is more than that holds.
  const most = burstSize + 65_536 + (bitsPerSecond / 8) * limited.seconds;
  assert.ok(limited.bytes > 0 && limited.bytes <= most, `${limited.bytes} bytes in ${limited.seconds} s`);
  const free = await pushed(443, 16 << 20, 60_000);
  assert.equal(free.bytes, 16 << 20, "the other port has no limit");
});

async function swallow({ ports }: { ports: readonly number[] }): Promise<void> {
  const { createServer } = process.getBuiltinModule("node:net");
  const swallowed: Record<number, number> = {};
  Object.assign(globalThis, { swallowed });
  for (const port of ports) {
    const server = createServer((socket) =>
      socket
        .on("data", (data) => (swallowed[port] = (swallowed[port] ?? 0) + data.length))
        .on("error", () => undefined),
    );
    await new Promise<void>((done) => server.listen(port, done));
  }
}

/** Waits for what is still under way, up to so many. */
async function readSwallowed({ port, bytes, forMs }: { port: number; bytes: number; forMs: number }): Promise<number> {
  const { swallowed } = globalThis as unknown as { swallowed: Record<number, number> };
  for (const endMs = performance.now() + forMs; performance.now() < endMs && (swallowed[port] ?? 0) < bytes;)
    await new Promise((done) => void setTimeout(done, 20));
  return swallowed[port] ?? 0;
}

/** As much as is taken, for so long at most. */
async function push(args: { to: string; port: number; bytes: number; forMs: number }): Promise<void> {
  const { connect } = process.getBuiltinModule("node:net");
  const socket = connect({ host: args.to, port: args.port });
  const part = Buffer.alloc(64 << 10);
  let left = args.bytes;
  await new Promise<void>((done) => {
    const goOn = (): void => {
      while (left > 0) {
        left -= part.length;
        if (!socket.write(part)) break;
      }
      if (left <= 0) socket.end(() => done());
    };
    socket.on("connect", goOn).on("drain", goOn);
    socket.on("error", () => done());
    setTimeout(done, args.forMs);
  });
  // Whatever is not sent by now is not.
  if (left > 0) socket.destroy();
}
