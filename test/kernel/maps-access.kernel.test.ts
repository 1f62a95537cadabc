import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { StandaloneNode } from "./standalone-node.ts";

const root = join(import.meta.dirname, "../..");
/** Of applications; nobody on this machine has them. */
const [appUser, appGroup, otherGroup] = [64_341, 64_342, 64_343];

test("ebpfctl up --maps-group and --maps-mode say who may open maps, from then on and over restarts", async (context) => {
  await using closing = new AsyncDisposableStack();
  const node = await StandaloneNode.make({ BPFLEET_NODE_NAME: "shared" });
  if (node === undefined) return context.skip("there is no cgroup v2");
  closing.use(node);
  const folder = dirname(node.metrics);
  execFileSync("ip", ["-n", node.netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
  const multiarch = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const flags = ["-target", "bpf", "-O2", "-g", "-I", join(root, "build/include"), `-I/usr/include/${multiarch}`];
  execFileSync("clang", [...flags, "-c", join(root, "examples/bpf/counter.bpf.c"), "-o", join(folder, "counter.o")]);
  const at = "attachpoint: {networkmultiattach: {interface: eth0, priority: 5}}";
  const spec = `{name: stats, type: XDP, nodeselector: {}, ${at}, bytecode: "file://${folder}/counter.o"}`;
  const config = `{apiVersion: bpfd.io/v1alpha1, kind: BpfProgramConfig, metadata: {name: counter}, spec: ${spec}}`;

  const pinOf = async (): Promise<string> => {
    for (const end = performance.now() + 30_000; performance.now() < end; await sleep(50)) {
      const { exitCode, out } = await node.run(["get", "bpfprogram", "counter-shared", "-o", "json"]);
      if (exitCode !== 0) continue;
      const { spec: made, status } = JSON.parse(out) as {
        spec: { programs: Record<string, { maps: Record<string, string> }> };
        status?: { conditions?: readonly { type: string }[] };
      };
      const pin = Object.values(made.programs)[0]?.maps["xdp_stats_map"];
      if (status?.conditions?.at(-1)?.type === "Loaded" && pin !== undefined) return pin;
    }
    assert.fail("counter was not loaded");
  };
  const programFile = join(folder, "programs/BpfProgram/counter-shared.json");
  const rights = (path: string): string => {
    const { mode, gid } = statSync(path);
    return `${(mode & 0o777).toString(8)} ${gid}`;
  };
  const mayRead = (pin: string, group: number): boolean => {
    const script = join(import.meta.dirname, "testdata/read-map.ts");
    const env = { ...process.env, BPFLEET_BTF: join(folder, "btf") };
    const argv = [script, pin, "kernel", "02000000", "2"];
    const out = execFileSync(process.execPath, argv, { env, uid: appUser, gid: group, encoding: "utf8" });
    return (JSON.parse(out) as { code?: string }).code === undefined;
  };
  let pin: string | undefined;
  for (const [words, expected, readers] of [
    [[], { pin: "640 0", folder: "750 0", socket: "660 0", file: "640 0" }, []],
    [
      ["--maps-group", String(appGroup)],
      { pin: `640 ${appGroup}`, folder: `750 ${appGroup}`, socket: `660 ${appGroup}`, file: `640 ${appGroup}` },
      [appGroup],
    ],
    [
      ["--maps-mode", "0644"],
      { pin: "644 0", folder: "755 0", socket: "666 0", file: "644 0" },
      [appGroup, otherGroup],
    ],
    [
      ["--maps-group", String(otherGroup), "--maps-mode", "0600"],
      { pin: `600 ${otherGroup}`, folder: `750 ${otherGroup}`, socket: `600 ${otherGroup}`, file: `600 ${otherGroup}` },
      [],
    ],
  ] as const) {
    await node.up("", ...words);
    for (const each of [folder, dirname(node.bpffs)])
      if (each.startsWith(tmpdir()) && each !== tmpdir()) chmodSync(each, 0o711);
    if (pin === undefined) await node.apply(config);
    pin = await pinOf();
    const types = join(folder, "btf", dirname(pin).split("/").at(-1) ?? "", "xdp_stats_map.json");
    for (const end = performance.now() + 10_000; rights(programFile) !== expected.file; await sleep(50))
      if (performance.now() > end) break;
    assert.deepEqual(
      {
        pin: rights(pin),
        folder: rights(dirname(pin)),
        socket: rights(join(folder, "bpfleet-maps.sock")),
        file: rights(programFile),
      },
      expected,
      words.join(" "),
    );
    assert.deepEqual([rights(types), rights(dirname(types))], [expected.file, expected.folder], words.join(" "));
    const may = [appGroup, otherGroup].filter((group) => mayRead(pin ?? "", group));
    assert.deepEqual(may, readers, words.join(" "));
    await node.stop();
  }
  for (const [words, message] of [
    [["--maps-group", "wheel"], /give the number of a group/],
    [["--maps-mode", "9"], /give an octal mode such as 0640/],
  ] as const) {
    const { exitCode, err } = await node.run(["up", "--once", ...words]);
    assert.equal(exitCode, 1);
    assert.match(err, message);
  }
});
