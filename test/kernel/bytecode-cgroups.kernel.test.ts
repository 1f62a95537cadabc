import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fetchReport } from "@bpfleet/agent";
import { connectTcp, listenTcp, type InnerProcess } from "@bpfleet/native/testing";
import { causeOf, nodeName, pinsOf, readNumbers, type ProgramObject } from "./bytecode-node.ts";
import { StandaloneNode } from "./standalone-node.ts";

const root = join(import.meta.dirname, "../..");

/** Type and hook of each config, and the section of its program. */
const places: readonly (readonly [string, string, string])[] = [
  ["CGROUP_SKB", "ingress", "ingress"],
  ["CGROUP_SKB", "egress", "egress"],
  ["CGROUP_DEVICE", "device", "dev"],
  ["CGROUP_SOCK", "sock_create", "sock_create"],
  ["CGROUP_SOCK", "sock_release", "sock_release"],
  ["CGROUP_SOCK", "post_bind4", "post_bind4"],
  ["CGROUP_SOCK", "post_bind6", "post_bind6"],
  ...["connect", "bind", "sendmsg", "recvmsg", "getpeername", "getsockname"].flatMap((call) =>
    [4, 6].map((version) => ["CGROUP_SOCK_ADDR", `${call}${version}`, `${call}${version}`] as const),
  ),
  ["CGROUP_SOCKOPT", "setsockopt", "setsockopt"],
  ["CGROUP_SOCKOPT", "getsockopt", "getsockopt"],
  ["CGROUP_SYSCTL", "sysctl", "sysctl"],
  ["SOCKOPS", "sock_ops", "sockops"],
];

/** Uses everything that a hook watches, over both versions of IP. */
async function useSockets(of: InnerProcess): Promise<void> {
  await of.run(async () => {
    const { createServer, connect } = process.getBuiltinModule("node:net");
    const { createSocket } = process.getBuiltinModule("node:dgram");
    const { readFileSync } = process.getBuiltinModule("node:fs");
    const { once } = process.getBuiltinModule("node:events");
    for (const [address, type] of [
      ["127.0.0.1", "udp4"],
      ["::1", "udp6"],
    ] as const) {
      const server = createServer((socket) => socket.resume().end());
      server.listen(0, address);
      await once(server, "listening");
      const client = connect({ host: address, port: (server.address() as { port: number }).port });
      await once(client, "connect");
      client.setNoDelay(true);
      client.setKeepAlive(true, 1000);
      if (client.remoteAddress === undefined || client.localAddress === undefined) throw new Error("no address");
      client.resume();
      await once(client, "close");
      server.close();
      const [from, to] = [createSocket(type), createSocket(type)];
      to.bind(0, address);
      await once(to, "listening");
      const came = once(to, "message");
      from.send("x", to.address().port, address);
      await came;
      from.setSendBufferSize(65_536);
      from.getSendBufferSize();
      from.close();
      to.close();
    }
    readFileSync("/proc/sys/net/ipv4/ip_default_ttl");
    readFileSync("/dev/null");
  }, undefined);
}

describe("programs on the cgroups of pods", async () => {
  const node = await StandaloneNode.make({ BPFLEET_NODE_NAME: nodeName });
  if (node === undefined) return it("run at every hook", { skip: "no cgroup v2" });
  after(() => node[Symbol.asyncDispose]());
  const directory = mkdtempSync(join(tmpdir(), "cgroup-hooks-"));
  after(() => rmSync(directory, { recursive: true }));
  const object = join(directory, "cgroup-hooks.o");
  const multiarch = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const flags = ["-target", "bpf", "-O2", "-g", "-I", join(root, "build/include"), `-I/usr/include/${multiarch}`];
  execFileSync("clang", [...flags, "-c", join(import.meta.dirname, "testdata/cgroup-hooks.bpf.c"), "-o", object]);
  await node.up();

  const config = ([type, hook, section]: (typeof places)[number], globals = "{}"): string => `---
apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: ${hook.replaceAll("_", "-")} }
spec:
  name: ${section}
  type: ${type}
  nodeselector: {}
  attachpoint: { cgroup: { namespace: default, podselector: { matchLabels: { app: web } }, hook: ${hook} } }
  bytecode: { path: ${object} }
  globals: ${globals}
`;
  const nameOf = ([, hook]: (typeof places)[number]): string => hook.replaceAll("_", "-");

  const current = async (name: string, type: string): Promise<ProgramObject> => {
    let last: ProgramObject | undefined;
    for (const end = performance.now() + 30_000; performance.now() < end; await sleep(50)) {
      const { objects } = await fetchReport(node.agentSocket);
      last = objects.find(({ ref }) => ref.kind === "BpfProgram" && ref.name === `${name}-${nodeName}`)?.object as
        | ProgramObject
        | undefined;
      if (last?.status?.conditions?.at(-1)?.type === type) return last;
    }
    assert.fail(`${name} did not become ${type}: ${JSON.stringify(last, undefined, 2)}`);
  };
  const callsOf = async (name: string): Promise<bigint> => {
    const pin = pinsOf(await current(name, "Loaded"))["calls"] ?? "";
    return readNumbers(pin, 1)[0] ?? 0n;
  };

  it("wait for pods, and run at every hook when there are some", async () => {
    await node.apply(places.map((place) => config(place)).join(""));
    assert.match(causeOf(await current("connect4", "NotLoaded")), /^no pod of namespace default/);
    node.makeCgroup("web");
    await node.apply(`apiVersion: v1
kind: Pod
metadata: { name: web, namespace: default, labels: { app: web }, annotations: { bpfleet.io/cgroup: ${node.slice}/web } }
`);
    for (const place of places) await current(nameOf(place), "Loaded");
    await useSockets(await node.process("web"));
    for (const place of places) assert.ok((await callsOf(nameOf(place))) > 0n, `${place[0]} ${place[1]} saw nothing`);
  });

  it("see nothing of processes elsewhere", async () => {
    const before = await callsOf("connect4");
    await useSockets(await node.process());
    assert.equal(await callsOf("connect4"), before);
  });

  it("decide: connections to IPv4 are refused, those to IPv6 are not", async () => {
    const web = await node.process("web");
    const [four, six] = [
      await listenTcp(await node.process(), "127.0.0.1"),
      await listenTcp(await node.process(), "::1"),
    ];
    const place = ["CGROUP_SOCK_ADDR", "connect4", "connect4"] as const;
    await node.apply(config(place, "{ answer: 0 }"));
    assert.deepEqual(await connectTcp(web, { address: "127.0.0.1", port: four }, 1), ["EPERM"]);
    assert.deepEqual(await connectTcp(web, { address: "::1", port: six }, 1), []);
    await node.apply(config(place));
    assert.deepEqual(await connectTcp(web, { address: "127.0.0.1", port: four }, 1), []);
  });

  it("say which hook takes another type, and leave nothing when they are deleted", async () => {
    const { exitCode, err } = await node.run(["apply", "-f", "-"], config(["CGROUP_SKB", "connect4", "connect4"]));
    assert.equal(exitCode, 1);
    assert.match(err, /must be ingress or egress for type CGROUP_SKB/);
    await node.apply(config(["CGROUP_SKB", "ingress", "connect4"]));
    assert.match(causeOf(await current("ingress", "NotLoaded")), /section cgroup\/connect4 .* cgroup_sock_addr/);
    await node.do("delete", "bpfprogramconfig", ...places.map(nameOf));
    const links = JSON.parse(await node.do("link", "list", "--ours", "-o", "json")) as unknown[];
    assert.deepEqual(links, []);
  });
});
