import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { StandaloneNode } from "./standalone-node.ts";

const root = join(import.meta.dirname, "../..");

interface Told {
  readonly metadata: { readonly deletionTimestamp?: string };
  readonly status: { readonly conditions: readonly { readonly type: string; readonly message: string }[] };
}

test("ebpfctl tells of a program that cannot be unloaded, and no more when it is", async (context) => {
  await using closing = new AsyncDisposableStack();
  const node = await StandaloneNode.make({ BPFLEET_NODE_NAME: "stuck" });
  if (node === undefined) return context.skip("there is no cgroup v2");
  closing.use(node);
  const folder = dirname(node.metrics);
  execFileSync("ip", ["-n", node.netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
  const multiarch = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const flags = ["-target", "bpf", "-O2", "-g", "-I", join(root, "build/include"), `-I/usr/include/${multiarch}`];
  execFileSync("clang", [...flags, "-c", join(root, "examples/bpf/counter.bpf.c"), "-o", join(folder, "counter.o")]);
  const told = async (kind: string, name: string): Promise<Told | undefined> => {
    const { exitCode, out } = await node.run(["get", kind, name, "-o", "json"]);
    return exitCode === 0 ? (JSON.parse(out) as Told) : undefined;
  };
  const becomes = async (kind: string, name: string, type: string | undefined): Promise<Told | undefined> => {
    for (const end = performance.now() + 30_000; performance.now() < end; await sleep(50)) {
      const found = await told(kind, name);
      if (found?.status.conditions.at(-1)?.type === type) return found;
    }
    assert.fail(`${kind} ${name} did not become ${type}: ${JSON.stringify(await told(kind, name))}`);
  };
  await node.up();
  const at = "attachpoint: {networkmultiattach: {interface: eth0, priority: 5}}";
  const spec = `{name: stats, type: XDP, nodeselector: {}, ${at}, bytecode: "file://${folder}/counter.o"}`;
  const config = `{apiVersion: bpfd.io/v1alpha1, kind: BpfProgramConfig, metadata: {name: counter}, spec: ${spec}}`;
  const pin = join(node.bpffs, "bpfleet/links", "xdp%2Feth0");
  for (const [breaks, heals, errno] of [
    [["--bind", pin, pin], ["umount", pin], /EBUSY/],
    [["-o", "remount,ro", node.bpffs], ["mount", "-o", "remount,rw", node.bpffs], /EROFS/],
  ] as const) {
    await node.apply(config);
    await becomes("bpfprogram", "counter-stuck", "Loaded");
    execFileSync("mount", breaks);
    try {
      await node.do("delete", "bpfprogramconfig", "counter");
      const program = await becomes("bpfprogram", "counter-stuck", "NotUnLoaded");
      assert.ok(program?.metadata.deletionTimestamp !== undefined);
      assert.match(program.status.conditions.find(({ type }) => type === "Cause")?.message ?? "", errno);
      const owner = await becomes("bpfprogramconfig", "counter", "DeleteError");
      assert.equal(
        owner?.status.conditions.at(-1)?.message,
        "bpfProgramConfig Deletion failed on the following bpfProgram Objects: [counter-stuck]",
      );
    } finally {
      const [command, ...args] = heals;
      execFileSync(command, args);
    }
    await becomes("bpfprogram", "counter-stuck", undefined);
    await becomes("bpfprogramconfig", "counter", undefined);
  }
  assert.deepEqual(readdirSync(join(node.bpffs, "bpfleet/programs")), []);
  assert.doesNotMatch(execFileSync("ip", ["-n", node.netns, "link", "show", "eth0"], { encoding: "utf8" }), /xdp/);
});
