import assert from "node:assert/strict";
import { createHook } from "node:async_hooks";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { KernelError } from "@bpfleet/base";
import {
  assemblePlan,
  cgroupAttaches,
  cgroupProgramTypes,
  mapIdentity,
  renderHookKey,
  type HookPoint,
  type ProgramSpec,
} from "@bpfleet/kernel";
import { BpfLink, BpfMap, BpfObject, detachClsBpf, isBpffs, queryClsBpf, queryHook } from "./binding.ts";
import { cgroupRoot } from "./cgroups.ts";
import { NodeKernel } from "./node-kernel.ts";
import { nodeHarness, type NodeHarness } from "./testing/kernel-harness.ts";
import { apply, counted, counts, planOf } from "./testing/kernel-plan.ts";
import { KernelSandbox } from "./testing/kernel-sandbox.ts";

test("NodeKernel leaves another's filters, links and qdiscs alone", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  await using object = BpfObject.open(kernel.sandbox.compile("contract"), { name: "theirs", autoload: ["count_tc"] });
  object.setGlobal("verdict", -1);
  await object.load();
  using program = object.program("count_tc");
  const ifindex = kernel.sandbox.ifindex(kernel.netns.name, "v0");
  const inNetns = kernel.netns.path;
  await using link = await program.attach({ tcx: ifindex, dir: "ingress" }, { inNetns });
  const theirs = { ifindex, direction: "ingress", handle: 1, priority: 1, inNetns } as const;
  await program.attachClsBpf(theirs);
  const tc = (legacyTc: boolean) => port.setHook({ ...request(tcMember), legacyTc });
  const point: HookPoint = { hook: "tc", interface: "v0", direction: "ingress" };
  const spec: ProgramSpec = {
    key: "test/tc",
    name: "tc",
    type: "sched_cls",
    object: kernel.object,
    entry: "count_tc",
    globals: { verdict: -1 },
    maps: {},
  };
  const identity = { key: "test/tc", generation: "g" };
  const tcMember = { spec, identity, maps: new Map(), mode: "stub", proceedOn: [] } as const;
  const request = (member: typeof tcMember) =>
    ({
      spec: { key: renderHookKey(point), point, members: [] },
      generation: "g",
      members: [member],
      mode: "native",
      legacyTc: false,
    }) as const;
  await port.loadProgram(spec, identity, new Map());
  for (const legacy of [false, true, false]) {
    assert.equal((await tc(legacy)).mode, legacy ? "cls_bpf" : "tcx");
    const hooks = (await port.observe()).hooks;
    assert.deepEqual(
      hooks.map((hook) => [hook.isAttached, hook.result.mode]),
      [[true, legacy ? "cls_bpf" : "tcx"]],
    );
    const state = await queryHook({ tcx: ifindex, dir: "ingress" }, { inNetns });
    assert.equal(state.programs.at(-1), program.info.id, "ours comes first on the way in");
    assert.equal(state.programs.length, legacy ? 1 : 2);
  }
  const inventory = await port.inventory();
  assert.deepEqual(
    inventory.links.find((each) => each.id === link.info.id),
    {
      id: link.info.id,
      type: "tcx",
      programId: program.info.id,
      target: "tcx_ingress v0",
      ours: undefined,
    },
  );
  await port.removeEverything();
  assert.deepEqual((await queryHook({ tcx: ifindex, dir: "ingress" }, { inNetns })).programs, [program.info.id]);
  assert.equal((await queryClsBpf(theirs))?.programId, program.info.id);
  await detachClsBpf(theirs);
});

/** A filter of cls_bpf on v0, as the port attaches it. */
async function legacyFilter(kernel: NodeHarness, port: NodeKernel): Promise<{ readonly key: string }> {
  const point: HookPoint = { hook: "tc", interface: "v0", direction: "egress" };
  const key = renderHookKey(point);
  const spec: ProgramSpec = {
    key: "test/tc",
    name: "tc",
    type: "sched_cls",
    object: kernel.object,
    entry: "count_tc",
    globals: { verdict: -1 },
    maps: {},
  };
  const identity = { key: "test/tc", generation: "g" };
  await port.loadProgram(spec, identity, new Map());
  await port.setHook({
    spec: { key, point, members: [] },
    generation: "g",
    members: [{ spec, identity, maps: new Map(), mode: "stub", proceedOn: [] }],
    mode: "native",
    legacyTc: true,
  });
  return { key };
}

const tc = (netns: string, ...args: string[]) => spawnSync("tc", ["-n", netns, ...args], { encoding: "utf8" }).stdout;

test("NodeKernel takes the qdisc away that it made for a filter, and leaves one that others made or use", async () => {
  await using kernel = await nodeHarness();
  const { name } = kernel.netns;
  const port = await kernel.open();
  const shown = () => tc(name, "qdisc", "show", "dev", "v0").includes("clsact");
  const { key } = await legacyFilter(kernel, port);
  assert.equal(shown(), true);
  await port.clearHook(key);
  assert.equal(shown(), false, "its own");
  tc(name, "qdisc", "add", "dev", "v0", "clsact");
  await legacyFilter(kernel, port);
  await port.clearHook(key);
  assert.equal(shown(), true, "another's");
  tc(name, "qdisc", "del", "dev", "v0", "clsact");
  await legacyFilter(kernel, await kernel.open());
  await using object = BpfObject.open(kernel.sandbox.compile("contract"), { name: "theirs", autoload: ["count_tc"] });
  await object.load();
  using program = object.program("count_tc");
  const ifindex = kernel.sandbox.ifindex(name, "v0");
  await program.attachClsBpf({ ifindex, direction: "ingress", handle: 1, priority: 1, inNetns: kernel.netns.path });
  await port.clearHook(key);
  assert.equal(shown(), true, "its own, which another uses meanwhile");
});

test("NodeKernel takes its filters away also when it is called from another network namespace", async () => {
  await using kernel = await nodeHarness();
  await legacyFilter(kernel, await kernel.open());
  const { peer, bpffs } = kernel;
  const elsewhere = await NodeKernel.open({ bpffsDir: bpffs, netns: peer.path, loadObject: async () => undefined });
  await elsewhere.removeEverything();
  assert.equal(tc(kernel.netns.name, "filter", "show", "dev", "v0", "egress"), "");
  assert.equal(tc(kernel.netns.name, "qdisc", "show", "dev", "v0").includes("clsact"), false);
});

test("NodeKernel.observe does not take an unmounted bpffs for an empty one", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  await apply(port, planOf(kernel, {}));
  spawnSync("umount", ["--lazy", kernel.bpffs]);
  try {
    await assert.rejects(
      port.observe(),
      (error) => error instanceof KernelError && /was unmounted/.test(error.message),
    );
  } finally {
    spawnSync("mount", ["-t", "bpf", "bpf", kernel.bpffs]);
  }
});

test("NodeKernel takes a link up again that somebody unpinned and still holds", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  await apply(port, planOf(kernel, {}));
  const pin = join(kernel.bpffs, "bpfleet", "links", "xdp%2Fv0");
  await using held = BpfLink.openPinned(pin);
  unlinkSync(pin);
  assert.deepEqual((await apply(port, planOf(kernel, { digest: "2" }))).failed, []);
  const [hook] = (await port.observe()).hooks;
  assert.equal(hook?.linkId, held.info.id);
  assert.equal(hook.programId, held.info.programId);
});

test("NodeKernel names interface and cgroup of every link in its inventory, and XDP that has no link", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  await apply(port, planOf(kernel, {}));
  kernel.sandbox.compile("contract");
  kernel.sandbox.ip(
    kernel.netns.name,
    "link",
    "set",
    "dev",
    "lo",
    "xdpgeneric",
    "object",
    join(kernel.sandbox.dir, "contract.bpf.o"),
    "section",
    "xdp",
  );
  const { links, maps, programs } = await port.inventory();
  assert.equal(links.find((link) => link.ours === "xdp/v0")?.target, "xdp v0");
  const foreign = links.find((link) => link.target === "xdp lo");
  assert.equal(foreign?.ours, undefined);
  assert.equal(programs.find((program) => program.id === foreign?.programId)?.name, "count_xdp");
  const ours = programs.find((program) => program.ours === "test/a");
  assert.ok((ours?.verifiedInsns ?? 0) > 0 && (ours?.jitedBytes ?? 0) > 0);
  assert.ok(Math.abs(Date.now() - Date.parse(ours?.loadedAt ?? "")) < 60_000);
  const constants = maps.filter((map) => map.ours === "test/a");
  assert.ok(constants.length >= 2, "its .rodata and scratch maps are ours too");
});

test("NodeKernel holds once what it observes of hooks that carry one program", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  kernel.sandbox.ip(kernel.netns.name, "link", "add", "d0", "type", "veth", "peer", "name", "d1");
  const points = ["d0", "d1"].map((name) => ({ hook: "xdp", interface: name }) as const);
  await apply(port, planOf(kernel, { points }));
  const [first, second] = (await port.observe()).hooks;
  assert.deepEqual([first?.isAttached, second?.isAttached], [true, true]);
  assert.notEqual(first?.key, second?.key);
  assert.equal(first?.members, second?.members);
  assert.equal(first?.result, second?.result);
});

test("NodeKernel asks the kernel no more for its inventory where there are more interfaces", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  const more = 20;
  let calls = 0;
  const hook = createHook({ init: (_id, type) => void (calls += type === "PROMISE" ? 0 : 1) });
  const callsOfOne = async (): Promise<number> => {
    await port.inventory();
    const before = calls;
    await port.inventory();
    return calls - before;
  };
  hook.enable();
  try {
    const few = await callsOfOne();
    for (let at = 0; at < more / 2; at++) kernel.sandbox.ip(kernel.netns.name, "link", "add", `d${at}`, "type", "veth");
    const many = await callsOfOne();
    assert.ok(many < few + more, `${few} calls, and ${many} with ${more} interfaces more`);
  } finally {
    hook.disable();
  }
});

test("NodeKernel tells links at equal numbers of other namespaces from those at its own interfaces", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  const ifindex = kernel.sandbox.ifindex(kernel.netns.name, "v0");
  const other = kernel.sandbox.netns();
  kernel.sandbox.ip(other.name, "link", "add", "w0", "type", "veth", "peer", "name", "w1");
  await using object = BpfObject.open(kernel.sandbox.compile("contract"), {
    name: "theirs",
    autoload: ["count_tc", "count_xdp"],
  });
  await object.load();
  using tc = object.program("count_tc");
  using xdp = object.program("count_xdp");
  await using tcx = await tc.attach({ tcx: ifindex, dir: "ingress" }, { inNetns: other.path });
  await using there = await xdp.attach({ xdp: ifindex }, { inNetns: other.path });
  const targets = async () => {
    const { links } = await port.inventory();
    return [tcx, there].map(({ info }) => links.find((link) => link.id === info.id)?.target);
  };
  const elsewhere = [
    `tcx_ingress ifindex ${ifindex} in another namespace`,
    `xdp ifindex ${ifindex} in another namespace`,
  ];
  assert.deepEqual(await targets(), elsewhere);
  await apply(port, planOf(kernel, {}));
  assert.deepEqual(await targets(), elsewhere);
  assert.equal((await port.inventory()).links.find((link) => link.ours === "xdp/v0")?.target, "xdp v0");
});

test("NodeKernel attaches every kind of cgroup program, and sees when the cgroup is gone or another by the same name", async () => {
  await using sandbox = new KernelSandbox();
  const cgroup = sandbox.cgroup();
  assert.ok(cgroup !== undefined);
  const inner = join(cgroup, "pod");
  mkdirSync(inner);
  const elf = sandbox.compile("cgroups");
  const object = { name: "cgroups", digest: createHash("sha256").update(elf).digest("hex") };
  const port = await NodeKernel.open({ bpffsDir: await sandbox.bpffs(), loadObject: async () => elf });
  const attachments = cgroupAttaches.map((attach) => ({
    point: { hook: "cgroup", path: inner, attach, member: `test/${attach}` } as const,
    member: { program: `test/${attach}`, priority: 0, proceedOn: [] },
  }));
  const programs = cgroupAttaches.map((attach): ProgramSpec => ({
    key: `test/${attach}`,
    name: attach,
    type: cgroupProgramTypes[attach],
    object,
    entry: attach,
    globals: {},
    maps: {},
  }));
  const plan = assemblePlan([{ maps: [], programs, attachments, instances: [], problems: [] }]);
  assert.deepEqual((await apply(port, plan)).failed, []);
  assert.deepEqual((await apply(port, plan)).actions, []);
  const { links } = await port.inventory();
  const targets = links.filter((link) => link.ours !== undefined).map((link) => link.target);
  assert.equal(targets.length, cgroupAttaches.length);
  const below = inner.slice((cgroupRoot() ?? "").length);
  for (const target of targets) assert.ok(target.startsWith("cgroup_") && target.endsWith(` ${below}`), target);
  rmdirSync(inner);
  assert.ok((await port.observe()).hooks.every((hook) => !hook.isAttached));
  mkdirSync(inner);
  assert.ok((await port.observe()).hooks.every((hook) => !hook.isAttached));
  assert.deepEqual((await apply(port, plan)).failed, []);
  assert.ok((await port.observe()).hooks.every((hook) => hook.isAttached));
  await port.removeEverything();
  rmdirSync(inner);
});

test("NodeKernel shows the verifier's telling line and the line of C, and the whole log as detail", async () => {
  await using sandbox = new KernelSandbox();
  const elf = sandbox.compile("refused");
  const bpffsDir = await sandbox.bpffs();
  const port = await NodeKernel.open({ bpffsDir, loadObject: async () => elf });
  await using object = BpfObject.open(elf);
  const [entry] = object.programs;
  assert.ok(entry !== undefined);
  const spec: ProgramSpec = {
    key: "test/refused",
    name: "refused",
    type: entry.type as ProgramSpec["type"],
    entry: entry.name,
    globals: {},
    maps: {},
    object: { name: "refused", digest: createHash("sha256").update(elf).digest("hex") },
  };
  await assert.rejects(port.loadProgram(spec, { key: spec.key, generation: "g" }, new Map()), (error) => {
    assert.ok(error instanceof KernelError);
    assert.equal(error.code, "verifier");
    assert.match(
      error.message,
      /^load program test\/refused: the verifier refused it: .+; at refused\.bpf\.c:\d+: .+ \(E[A-Z]+\)$/,
    );
    assert.match(error.detail ?? "", /processed \d+ insns/);
    return true;
  });
  await port.removeEverything();
});

test("NodeKernel says what is wrong with bytes that are no object", async () => {
  await using sandbox = new KernelSandbox();
  const bpffsDir = await sandbox.bpffs();
  const garbage = Buffer.from("\x7fELF and then nothing of the kind");
  const spec: ProgramSpec = {
    key: "test/x",
    name: "x",
    type: "xdp",
    entry: "x",
    globals: {},
    maps: {},
    object: { name: "garbage", digest: createHash("sha256").update(garbage).digest("hex") },
  };
  const port = await NodeKernel.open({ bpffsDir, loadObject: async () => garbage });
  await assert.rejects(port.loadProgram(spec, { key: "test/x", generation: "g" }, new Map()), {
    name: "KernelError",
    code: "not-elf",
  });
});

test("testRun gives each program type the packet as its hook does", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  await port.createMap(counts);
  const packet = Uint8Array.from({ length: 80 }, (_, at) => (at === 12 ? 8 : at === 14 ? 0x45 : at < 12 ? 0xaa : 0));
  const run = async (type: ProgramSpec["type"], entry: string, verdict: number) => {
    const spec: ProgramSpec = {
      key: `test/${entry}`,
      name: "x",
      type,
      object: kernel.object,
      entry,
      globals: { verdict, mark: 5 },
      maps: { counts: "test/counts" },
    };
    const result = await port.testRun({
      spec,
      maps: new Map([["counts", mapIdentity(counts)]]),
      packet,
      scratch: "scratch",
      ifindex: 1,
    });
    const scratch = Buffer.from(result.scratch);
    return {
      ...result,
      mark: scratch.readUInt32LE(0),
      firstByte: scratch.readUInt32LE(4),
      ifindex: scratch.readUInt32LE(8),
      length: scratch.readUInt32LE(12),
    };
  };
  const xdp = await run("xdp", "count_xdp", 1);
  assert.deepEqual([xdp.verdict, xdp.mark, xdp.firstByte, xdp.length], [1, 5, 0xaa, 80]);
  const tc = await run("sched_cls", "count_tc", -1);
  assert.deepEqual([tc.verdict, tc.firstByte, tc.length, tc.ifindex], [-1, 0xaa, 80, 1]);
  const skb = await run("cgroup_skb", "count_skb", 0);
  assert.deepEqual([skb.verdict, skb.firstByte, skb.length], [0, 0x45, 66]);
  assert.deepEqual(Buffer.from(skb.packet), Buffer.from(packet));
  assert.equal(await counted(port), 3);
});

test("open mounts a bpffs of mode 0700 where none is, or says that none is", async () => {
  await using sandbox = new KernelSandbox();
  const bpffsDir = join(sandbox.dir, "run", "fs");
  const loadObject = async (): Promise<undefined> => undefined;
  await assert.rejects(NodeKernel.open({ bpffsDir, loadObject }), { code: "invalid" });
  await NodeKernel.open({ bpffsDir, loadObject, mount: true });
  try {
    assert.ok(isBpffs(bpffsDir));
    assert.equal(statSync(bpffsDir).mode & 0o777, 0o700);
    await NodeKernel.open({ bpffsDir, loadObject });
    assert.ok(!readdirSync(bpffsDir).includes("bpfleet"), "nothing of ours before there is something to pin");
  } finally {
    spawnSync("umount", [bpffsDir]);
  }
});

test("pinMap leaves a pin that somebody put in place of ours", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  const pinPath = join(kernel.userPins, "deep", "counts");
  mkdirSync(join(kernel.userPins, "deep"));
  await port.createMap(counts);
  await port.pinMap(mapIdentity(counts), pinPath);
  unlinkSync(pinPath);
  using theirs = BpfMap.create({ type: "array", name: "theirs", keySize: 4, valueSize: 4, maxEntries: 1 });
  theirs.pin(pinPath);
  await assert.rejects(port.pinMap(mapIdentity(counts), pinPath), { code: "exists" });
  await port.removeEverything();
  assert.equal(await kernel.pinnedId(pinPath), theirs.info.id);
});
