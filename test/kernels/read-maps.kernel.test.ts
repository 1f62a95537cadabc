/** Applications without rights read the maps of programs on any kernel: by bpf() where it lets them, else by the daemon. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { SmallNode } from "./small-node.ts";

const root = join(import.meta.dirname, "../..");
/** In the group of root, who alone may open the pins here. */
const application = { uid: 64_351, gid: 0 };
const patienceMs = 240_000;

let node: SmallNode;
before(async () => {
  node = await SmallNode.make([]);
  await node.up();
  // The folder of a test is its own; that of a node is open to whom it is for.
  chmodSync(node.directory, 0o711);
});
after(() => node[Symbol.asyncDispose]());

test("openMap reads a pinned map as a user without rights, by the daemon where the kernel shuts bpf()", async (t) => {
  const object = join(node.directory, "counter.o");
  const multiarch = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const flags = ["-target", "bpf", "-O2", "-g", "-I", join(root, "build/include"), `-I/usr/include/${multiarch}`];
  execFileSync("clang", [...flags, "-c", join(root, "examples/bpf/counter.bpf.c"), "-o", object]);
  const at = "attachpoint: {networkmultiattach: {interface: eth0, priority: 5}}";
  const spec = `{name: stats, type: XDP, nodeselector: {}, ${at}, bytecode: "file://${object}"}`;
  await node.apply(`{apiVersion: bpfd.io/v1alpha1, kind: BpfProgramConfig, metadata: {name: counter}, spec: ${spec}}`);
  const find = async (): Promise<string> => {
    for (const end = performance.now() + patienceMs; performance.now() < end; await sleep(200)) {
      const { items } = JSON.parse(await node.do("get", "bpfprograms", "-o", "json")) as {
        items: { spec: { programs: Record<string, { maps: Record<string, string> }> } }[];
      };
      const [program] = Object.values(items[0]?.spec.programs ?? {});
      if (program?.maps["xdp_stats_map"] !== undefined) return program.maps["xdp_stats_map"];
    }
    assert.fail("the map was not pinned");
  };
  const pin = await find();
  assert.equal(node.ping("10.9.0.2"), 3);

  const shut = Number(readFileSync("/proc/sys/kernel/unprivileged_bpf_disabled", "utf8"));
  const [major = 0, minor = 0] = release().split(".").map(Number);
  const isShut = shut !== 0 && (major < 5 || (major === 5 && minor < 19));
  t.diagnostic(`Linux ${release()}, unprivileged_bpf_disabled ${shut}`);
  const read = (via: string): Record<string, unknown> => {
    const env = {
      ...process.env,
      NODE_COMPILE_CACHE: "",
      BPFLEET_MAPS_SOCKET: join(node.directory, "bpfleet-maps.sock"),
      BPFLEET_BTF: join(node.directory, "btf"),
    };
    const script = join(root, "test/kernel/testdata/read-map.ts");
    const argv = [script, pin, via, "02000000", "2"];
    return JSON.parse(execFileSync(process.execPath, argv, { env, ...application, encoding: "utf8" })) as Record<
      string,
      unknown
    >;
  };
  const { via, found, code, message } = read("either");
  assert.equal(code, undefined, String(message));
  assert.equal(via, isShut ? "daemon" : "kernel");
  const [first, ...others] = found as readonly Record<string, string>[];
  const packets = [first, ...others].reduce((sum, each) => sum + BigInt(each?.["rx_packets"]?.slice(0, -1) ?? 0), 0n);
  assert.ok(packets >= 3n, `${packets} packets`);
  const byDaemon = read("daemon");
  assert.deepEqual(byDaemon["types"], read("either")["types"]);
  if (isShut) assert.match(String(read("kernel")["message"]), /EPERM/);
});
