import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { hostname } from "node:os";
import { test } from "node:test";
import { KernelSandbox } from "@bpfleet/native/testing";
import { StandaloneNode } from "./standalone-node.ts";

const policy = `
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: { name: nodes }
spec:
  nodeSelector: {}
  ingress: [{ toPorts: [{ ports: [{ port: "8080", protocol: TCP }] }] }]
  egress: [{ toCIDR: [192.0.2.0/24] }]
`;

test("ebpfctl tells connections of a node from what it forwards, traces its drops, and proposes an edit", async (context) => {
  await using node = await StandaloneNode.make();
  if (node === undefined) return context.skip("there is no cgroup v2");
  await using sandbox = new KernelSandbox();
  const [pod, world] = [sandbox.netns().name, sandbox.netns().name];
  for (const [netns, name, prefix] of [
    [pod, "web", "10.1.0"],
    [world, "up0", "192.0.2"],
  ] as const) {
    sandbox.ip(node.netns, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", netns);
    sandbox.ip(node.netns, "address", "add", `${prefix}.1/24`, "dev", name);
    sandbox.ip(node.netns, "link", "set", name, "up");
    sandbox.ip(netns, "address", "add", `${prefix}.2/24`, "dev", "eth0");
    sandbox.ip(netns, "link", "set", "eth0", "up");
  }
  sandbox.ip(pod, "route", "add", "default", "via", "10.1.0.1");
  execFileSync("ip", ["netns", "exec", node.netns, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  const nat =
    "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post oif up0 masquerade";
  execFileSync("ip", ["netns", "exec", node.netns, "nft", nat]);
  await node.up();
  await node.apply(policy);
  const ping = async (from: string, to: string): Promise<boolean> => {
    const [code] = await once(spawn("ip", ["netns", "exec", from, "ping", "-c", "1", "-W", "1", to]), "exit");
    return code === 0;
  };
  assert.ok(await ping(node.netns, "192.0.2.2"));
  assert.ok(await ping(pod, "192.0.2.2"));
  assert.ok(!(await ping(world, "192.0.2.1")));
  const spaced = async (...words: readonly string[]): Promise<string> =>
    (await node.do(...words)).replaceAll(/ +/g, " ");
  const flows = await spaced("conntrack", "dump", hostname());
  for (const by of ["CiliumClusterwideNetworkPolicy nodes", "<forwarded>"])
    assert.match(
      flows,
      new RegExp(`^node ${hostname()} egress icmp 192\\.0\\.2\\.1 192\\.0\\.2\\.2 open \\d+s ${by}$`, "m"),
    );
  const dump = await spaced("policy", "dump");
  assert.match(dump, new RegExp(`^node ${hostname()} all of the node table \\d+ table \\d+$`, "m"));
  assert.match(dump, /^0 allow the fail-safe ports of this node stay open, ingress /m);
  assert.match(
    dump,
    /^\d+ allow allow egress to 192\.0\.2\.0\/24 .* CiliumClusterwideNetworkPolicy nodes spec\.egress\[0\], /m,
  );
  assert.match(
    await node.do("get", "ciliumclusterwidenetworkpolicy", "nodes", "-o", "yaml"),
    /message: decides on the packets of the node itself/,
  );
  const trace = node.do("trace", "--drops", "--count", "1");
  const traced = new AbortController();
  void trace.finally(() => traced.abort());
  for (const end = performance.now() + 60_000; !traced.signal.aborted && performance.now() < end;)
    await ping(world, "192.0.2.1");
  assert.match(
    await trace,
    /drop up0 192\.0\.2\.2 > 192\.0\.2\.1 \(this node\) icmp.* lets node \S+ itself receive only what a rule allows/,
  );
  const asked = ["explain", "-i", "up0", "--from", "192.0.2.2", "--to", "192.0.2.1", "--proto", "tcp", "--dport"];
  const open = await node.run([...asked, "22"]);
  assert.match(open.out, /the fail-safe ports of this node stay open, ingress/, open.err);
  const closed = await node.run([...asked, "80"]);
  assert.equal(closed.exitCode, 3, closed.out + closed.err);
  assert.match(closed.out, /add to CiliumClusterwideNetworkPolicy nodes spec\.ingress/);
});
