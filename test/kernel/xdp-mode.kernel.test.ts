import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { StandaloneNode } from "./standalone-node.ts";

const root = join(import.meta.dirname, "../..");

interface Condition {
  readonly type: string;
  readonly message: string;
}

test("ebpfctl up attaches XDP in the modes of bpfd.toml, also when they change, and says where one cannot be", async (context) => {
  await using closing = new AsyncDisposableStack();
  const node = await StandaloneNode.make({ BPFLEET_NODE_NAME: "modes" });
  if (node === undefined) return context.skip("there is no cgroup v2");
  closing.use(node);
  const folder = dirname(node.metrics);
  const ip = (...args: readonly string[]): string =>
    execFileSync("ip", ["-n", node.netns, ...args], { encoding: "utf8" });
  ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1");
  const multiarch = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const flags = ["-target", "bpf", "-O2", "-g", "-I", join(root, "build/include"), `-I/usr/include/${multiarch}`];
  execFileSync("clang", [...flags, "-c", join(root, "examples/bpf/counter.bpf.c"), "-o", join(folder, "counter.o")]);
  const declare = (at: string): string =>
    JSON.stringify({
      apiVersion: "bpfd.io/v1alpha1",
      kind: "BpfProgramConfig",
      metadata: { name: `on-${at}` },
      spec: {
        name: "stats",
        type: "XDP",
        nodeselector: {},
        attachpoint: { networkmultiattach: { interface: at, priority: 5 } },
        bytecode: `file://${folder}/counter.o`,
      },
    });
  const conditions = async (at: string): Promise<readonly Condition[]> => {
    const object = JSON.parse(await node.do("get", "bpfprogram", `on-${at}-modes`, "-o", "json")) as {
      status?: { conditions?: readonly Condition[] };
    };
    return object.status?.conditions ?? [];
  };
  const becomes = async (at: string, type: string): Promise<readonly Condition[]> => {
    for (const end = performance.now() + 30_000; performance.now() < end; await sleep(50)) {
      const { exitCode } = await node.run(["get", "bpfprogram", `on-${at}-modes`]);
      const found = exitCode === 0 ? await conditions(at) : [];
      if (found.at(-1)?.type === type) return found;
    }
    assert.fail(`on-${at} did not become ${type}`);
  };
  const modeOf = (at: string): string => / (xdp\w*) /.exec(ip("link", "show", "dev", at).replace("\n", " "))?.[1] ?? "";
  const config = join(folder, "bpfd.toml");
  const up = async (text: string): Promise<void> => {
    await node.stop();
    writeFileSync(config, `[grpc.endpoint]\nunix = "${folder}/bpfd.sock"\n${text}`);
    await node.up("", "--bpfd-config", config);
  };

  await up('[interfaces.eth0]\nxdp_mode = "skb"\n');
  await node.apply(`${declare("eth0")}\n---\n${declare("eth1")}\n---\n${declare("lo")}`);
  for (const at of ["eth0", "eth1", "lo"]) await becomes(at, "Loaded");
  assert.deepEqual(["eth0", "eth1", "lo"].map(modeOf), ["xdpgeneric", "xdp", "xdpgeneric"]);

  await up('[interfaces.eth0]\nxdp_mode = "drv"\n[interfaces.lo]\nxdp_mode = "drv"\n');
  await becomes("eth0", "Loaded");
  const refused = await becomes("lo", "NotLoaded");
  assert.deepEqual(["eth0", "eth1", "lo"].map(modeOf), ["xdp", "xdp", "xdpgeneric"]);
  assert.match(
    refused.find(({ type }) => type === "Cause")?.message ?? "",
    /native mode is asked for there; skb works with every driver/,
  );

  await node.stop();
  writeFileSync(config, '[interfaces.eth0]\nxdp_mode = "hw"\n');
  const { exitCode, err } = await node.run(["up", "--once", "--bpfd-config", config]);
  assert.equal(exitCode, 1);
  assert.match(err, /interfaces\.eth0\.xdp_mode: hw is not served/);
});
