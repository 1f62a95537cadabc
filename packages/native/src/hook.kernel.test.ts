import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  BpfError,
  BpfLink,
  BpfMap,
  BpfObject,
  BpfProgram,
  detachClsBpf,
  list,
  Netns,
  queryClsBpf,
  queryHook,
  RunStatistics,
} from "./binding.ts";
import type { BpfErrorCode, Target } from "./binding.ts";
import { KernelSandbox, openDescriptors, u32, until } from "./testing/kernel-sandbox.ts";

function isError(code: BpfErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof BpfError && error.code === code;
}

const bindingUrl = new URL("./binding.ts", import.meta.url).href;

describe("hooks", () => {
  let sandbox: KernelSandbox;
  let gate: Buffer;
  let order: Buffer;
  let pair: ReturnType<KernelSandbox["pair"]>;
  before(() => {
    sandbox = new KernelSandbox();
    gate = sandbox.compile("gate");
    order = sandbox.compile("order");
    pair = sandbox.pair();
  });
  after(() => sandbox[Symbol.asyncDispose]());

  /** Names of the programs that ran, in order. */
  function trailOf(object: BpfObject): string {
    using trail = object.map("trail");
    using bss = object.map("bpf.bss");
    const steps = Math.min(bss.getRaw(u32(0))!.readUInt32LE(), 16);
    return Array.from({ length: steps }, (_, at) => String.fromCharCode(trail.getRaw(u32(at))!.readUInt32LE())).join(
      "",
    );
  }

  it("xdp in another namespace counts, drops and reports real packets", async () => {
    await using object = BpfObject.open(gate);
    await object.load();
    using program = object.program("gate");
    using seen = object.map("seen");
    using denied = object.map("denied");
    using events = object.map("events");
    const sequences: number[] = [];
    await using _reader = events.ringbuf((records) => {
      for (const record of records) sequences.push(record.readUInt32LE(4));
    });
    const target: Target = { xdp: pair.far.ifindex, mode: "native" };
    await using link = await program.attach(target, { inNetns: pair.far.path });
    const source = Buffer.from([10, 9, 0, 1]);
    using _statistics = RunStatistics.enable();
    sandbox.sendUdp(pair.near.name, "10.9.0.2", 5);
    await until("five packets were counted", () => (seen.getRaw(source)?.readBigUInt64LE() ?? 0n) >= 5n);
    await until("five events arrived", () => sequences.length >= 5);
    assert.deepEqual(sequences.slice(0, 5), [7, 8, 9, 10, 11]);
    assert.ok(program.info.runCount >= 5n && program.info.runTimeNs > 0n);
    denied.setRaw(Buffer.from([24, 0, 0, 0, 10, 9, 0, 0]), Buffer.from([1]));
    const ping = sandbox.node(
      pair.near.name,
      `
      import { execFileSync } from "node:child_process";
      execFileSync("ping", ["-c", "1", "-W", "1", "10.9.0.2"]);`,
    );
    assert.notEqual(ping.status, 0, "denied sources are dropped");

    const state = await queryHook(target, { inNetns: pair.far.path });
    assert.deepEqual([state.programs, state.links, state.mode], [[program.info.id], [link.info.id], "native"]);
    assert.equal(typeof state.features, "bigint");
    const { id, type, programId, ifindex } = link.info;
    assert.deepEqual([type, programId, ifindex], ["xdp", program.info.id, pair.far.ifindex]);
    assert.ok((await list("link")).some((each) => each.id === id));
    assert.ok((await list("prog")).some((each) => each.id === programId && each.name === "gate"));
  });

  it("a second xdp link is busy, an update swaps, a stale one is refused", async () => {
    await using object = BpfObject.open(gate);
    await object.load();
    using program = object.program("gate");
    using pass = object.program("cut");
    using netns = Netns.open(pair.far.path);
    const target: Target = { xdp: pair.far.ifindex };
    await using link = await program.attach(target, { inNetns: netns });
    await assert.rejects(() => pass.attach(target, { inNetns: netns }), isError("busy"));
    await link.update(pass, program);
    assert.equal(link.info.programId, pass.info.id);
    await assert.rejects(() => link.update(pass, program), isError("stale"));
    await link.update(program);
    assert.equal(link.info.programId, program.info.id);
    await assert.rejects(() => program.attach({ xdp: 12345 }, { inNetns: netns }), isError("not-found"));
    await assert.rejects(() => program.attach(target, { inNetns: "/run/netns/nothing" }), isError("not-found"));
    await assert.rejects(() => program.attach(target, { inNetns: "/proc/self/stat" }), isError("invalid"));
    await link.detach();
    assert.equal(link.info.ifindex, 0);
    assert.deepEqual((await queryHook(target, { inNetns: netns })).programs, []);
  });

  it("tcx programs run in the order asked for", async () => {
    await using object = BpfObject.open(order, { autoload: ["tc_a", "tc_b", "tc_c"] });
    await object.load();
    const [a, b, c] = [object.program("tc_a"), object.program("tc_b"), object.program("tc_c")];
    const target: Target = { tcx: pair.far.ifindex, dir: "ingress" };
    const inNetns = pair.far.path;
    assert.deepEqual((await queryHook(target, { inNetns })).programs, []);
    await using linkB = await b.attach(target, { inNetns });
    await using linkA = await a.attach(target, { inNetns, order: { before: linkB.info.id } });
    const { revision } = await queryHook(target, { inNetns });
    await using linkC = await c.attach(target, {
      inNetns,
      order: { after: linkB.info.id },
      expectedRevision: revision,
    });
    await assert.rejects(() => c.attach(target, { inNetns, expectedRevision: revision }), isError("stale"));
    const state = await queryHook(target, { inNetns });
    assert.deepEqual(state.links, [linkA.info.id, linkB.info.id, linkC.info.id]);
    assert.deepEqual(state.programs, [a.info.id, b.info.id, c.info.id]);
    assert.ok(state.revision > revision);
    // The interface's own packets may have come before the third program did.
    const earlier = trailOf(object).length;
    sandbox.sendUdp(pair.near.name, "10.9.0.2", 1);
    await until("all three ran", () => trailOf(object).length >= earlier + 3);
    assert.equal(trailOf(object).slice(earlier, earlier + 3), "abc");
    assert.equal(linkA.info.attachType, "tcx_ingress");
    await linkC.close();
    await using _first = await c.attach(target, { inNetns, order: { first: true } });
    assert.deepEqual((await queryHook(target, { inNetns })).programs, [c.info.id, a.info.id, b.info.id]);
    for (const program of [a, b, c]) program.close();
  });

  it("cls_bpf filters are attached, replaced in place and detached", async () => {
    await using object = BpfObject.open(order, { autoload: ["tc_a", "tc_b"] });
    await object.load();
    using a = object.program("tc_a");
    using b = object.program("tc_b");
    const at = {
      ifindex: pair.far.ifindex,
      direction: "ingress",
      handle: 1,
      priority: 50,
      inNetns: pair.far.path,
    } as const;
    assert.equal(await queryClsBpf(at), undefined);
    assert.equal(await detachClsBpf(at), false);
    assert.deepEqual(await a.attachClsBpf(at), { handle: 1, priority: 50, programId: a.info.id });
    await assert.rejects(() => b.attachClsBpf(at), isError("exists"));
    await b.attachClsBpf({ ...at, replace: true });
    assert.deepEqual(await queryClsBpf(at), { handle: 1, priority: 50, programId: b.info.id });
    assert.equal(await queryClsBpf({ ...at, direction: "egress" }), undefined);
    sandbox.sendUdp(pair.near.name, "10.9.0.2", 1);
    await until("it ran", () => trailOf(object).startsWith("b"));
    assert.equal(await detachClsBpf(at), true);
    assert.equal(await detachClsBpf(at), false);
    sandbox.ip(pair.far.name, "link", "show");
  });

  it("cgroup hooks take links, and direct attachments that replace", async (test) => {
    const cgroup = sandbox.cgroup();
    if (cgroup === undefined) return test.skip("no cgroup v2");
    const attachTypes = {
      egress: "cgroup_inet_egress",
      sock_create: "cgroup_inet_sock_create",
      connect4: "cgroup_inet4_connect",
      on_sockops: "cgroup_sock_ops",
      on_device: "cgroup_device",
      on_sysctl: "cgroup_sysctl",
    };
    for (const [name, attachType] of Object.entries(attachTypes)) {
      await using object = BpfObject.open(order, { autoload: [name] });
      await object.load();
      using program = object.program(name);
      const target: Target = { cgroup, attachType };
      await using link = await program.attach(target);
      assert.equal(link.info.attachType, attachType);
      assert.equal(link.info.cgroupId, BigInt(statSync(cgroup).ino));
      assert.deepEqual((await queryHook(target)).programs, [program.info.id]);
      await link.close();
      assert.deepEqual((await queryHook(target)).programs, []);

      const multi = 2;
      await program.attachDirect(target, { flags: multi });
      await using other = BpfObject.open(order, { autoload: [name] });
      await other.load();
      using next = other.program(name);
      await next.attachDirect(target, { flags: multi, replace: program });
      assert.deepEqual((await queryHook(target)).programs, [next.info.id]);
      await next.detachDirect(target);
      await assert.rejects(() => next.detachDirect(target), isError("not-found"));
    }
    return undefined;
  });

  it("sk_lookup and raw tracepoints take links", async () => {
    await using object = BpfObject.open(order, { autoload: ["lookup", "on_raw", "on_switch"] });
    await object.load();
    using lookup = object.program("lookup");
    using raw = object.program("on_raw");
    await using lookupLink = await lookup.attach({ netns: pair.far.path, attachType: "sk_lookup" });
    assert.equal(lookupLink.info.netnsInode, statSync(pair.far.path).ino);
    assert.deepEqual((await queryHook({ netns: pair.far.path, attachType: "sk_lookup" })).programs, [lookup.info.id]);
    await using rawLink = await raw.attach({ rawTracepoint: "sys_enter" });
    assert.equal(rawLink.info.tracepoint, "sys_enter");
    await assert.rejects(() => raw.attach({ rawTracepoint: "no_such" }), isError("not-found"));
    using onSwitch = object.program("on_switch");
    await assert.rejects(() => onSwitch.attach({ tracepoint: "sched" }), isError("invalid"));
    await assert.rejects(() => onSwitch.attach({ tracepoint: "../x/y" }), isError("invalid"));
    await assert.rejects(() => onSwitch.attach({ tracepoint: "sched/no_such" }), isError("not-found"));
  });

  it("tracepoints take links where tracefs is mounted", () => {
    const script = `
      import { execFileSync } from "node:child_process";
      import { BpfObject } from ${JSON.stringify(bindingUrl)};
      execFileSync("mount", ["-t", "tracefs", "tracefs", "/sys/kernel/tracing"]);
      await using object = BpfObject.open(readFileSync(${JSON.stringify(join(sandbox.dir, "order.bpf.o"))}), { autoload: ["on_switch"] });
      await object.load();
      using program = object.program("on_switch");
      await using link = await program.attach({ tracepoint: "sched/sched_switch" });
      console.log(JSON.stringify(link.info, (_, value) => value === program.info.id ? "ours" : value));`;
    // `ip netns exec` gives a mount namespace of its own, so that the mount is seen by nobody else.
    const { stdout, stderr } = sandbox.node(pair.near.name, `import { readFileSync } from "node:fs";${script}`);
    assert.match(stdout, /"type":"perf_event","programId":"ours","tracepoint":"sched_switch"/, stderr);
  });

  it("what is pinned is found and updated by another process", async () => {
    const bpffs = await sandbox.bpffs();
    {
      await using object = BpfObject.open(gate);
      await object.load();
      using program = object.program("gate");
      using next = object.program("cut");
      using seen = object.map("seen");
      await using link = await program.attach({ xdp: pair.near.ifindex }, { inNetns: pair.near.path });
      link.pin(join(bpffs, "link"));
      next.pin(join(bpffs, "next"));
      seen.pin(join(bpffs, "seen"));
    }
    const script = `
      import { BpfLink, BpfMap, BpfProgram } from ${JSON.stringify(bindingUrl)};
      using next = BpfProgram.openPinned(${JSON.stringify(join(bpffs, "next"))});
      using seen = BpfMap.openPinned(${JSON.stringify(join(bpffs, "seen"))});
      seen.setRaw(Buffer.from([1, 2, 3, 4]), Buffer.alloc(8, 9));
      await using link = BpfLink.openPinned(${JSON.stringify(join(bpffs, "link"))});
      await link.update(next, BpfProgram.fromId(link.info.programId));
      console.log(next.info.id, link.info.programId);`;
    const run = sandbox.node(pair.near.name, script);
    assert.equal(run.status, 0, run.stderr);
    const [expected, actual] = run.stdout.trim().split(" ");
    assert.equal(actual, expected);
    using seen = BpfMap.openPinned(join(bpffs, "seen"));
    assert.deepEqual(seen.getRaw(Buffer.from([1, 2, 3, 4])), Buffer.alloc(8, 9));
    await using link = BpfLink.openPinned(join(bpffs, "link"));
    assert.equal(link.info.programId, Number(expected));
    await using byId = BpfLink.fromId(link.info.id);
    assert.equal(byId.info.id, link.info.id);
    assert.throws(() => BpfLink.openPinned(join(bpffs, "next")), isError("invalid"));
    await link.detach();
  });

  it("attach and close leave no descriptor", async () => {
    await using object = BpfObject.open(gate);
    await object.load();
    using program = object.program("gate");
    const start = openDescriptors();
    for (let count = 0; count < 5; count++) {
      await using link = await program.attach({ xdp: pair.near.ifindex, mode: "skb" }, { inNetns: pair.near.path });
      await link.close();
      await link.close();
      assert.throws(() => link.info, isError("closed"));
      await assert.rejects(() => program.attach({ xdp: 9999 }, { inNetns: pair.near.path }));
    }
    // Earlier tests' may have been collected meanwhile.
    assert.ok(openDescriptors() <= start, `${openDescriptors()} descriptors, ${start} before`);
  });

  it("testRun gives verdict, packet and context", async () => {
    await using object = BpfObject.open(gate);
    await object.load();
    using program = object.program("cut");
    const { retval, data, durationNs } = await program.testRun({ data: Buffer.alloc(80, 1), repeat: 10 });
    assert.deepEqual([retval, data.length], [3, 40], "each repeat starts from the packet that the last one left");
    assert.ok(durationNs >= 0);
    const ctx = Buffer.alloc(24);
    ctx.writeUInt32LE(80, 4);
    assert.equal((await program.testRun({ data: Buffer.alloc(80), ctx })).ctx.readUInt32LE(4), 76);
    await assert.rejects(() => program.testRun({ data: new Uint8Array(3) }), isError("invalid"));
    program.close();
    assert.throws(() => program.testRun({}), isError("closed"));
    assert.throws(() => BpfProgram.fromId(0x7fffffff), isError("not-found"));
  });
});
