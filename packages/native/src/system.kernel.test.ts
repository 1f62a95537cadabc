import assert from "node:assert/strict";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  BpfError,
  BpfProgram,
  cgroupId,
  isBpffs,
  libbpfVersion,
  list,
  mountBpffs,
  NetlinkSocket,
  openNetns,
  possibleCpus,
  rawBtf,
  RunStatistics,
  unmount,
} from "./binding.ts";
import type { BpfErrorCode, NetlinkEvent } from "./binding.ts";
import { KernelSandbox, openDescriptors, until } from "./testing/kernel-sandbox.ts";

function isError(code: BpfErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof BpfError && error.code === code;
}

const messageTypes = { error: 2, done: 3, newLink: 16, getLink: 18 };
const flags = { request: 1, ack: 4, dump: 0x300 };
const linkGroup = 1;

/** A request without attributes: header and a family of zero. */
function request(type: number, flagBits: number, sequence: number): Buffer {
  const bytes = Buffer.alloc(16 + 16);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flagBits, 6);
  bytes.writeUInt32LE(sequence, 8);
  return bytes;
}

function* typesIn(data: Buffer): Generator<number> {
  for (let at = 0; at + 16 <= data.length; at += (data.readUInt32LE(at) + 3) & ~3) yield data.readUInt16LE(at + 4);
}

describe("the machine", () => {
  let sandbox: KernelSandbox;
  before(() => {
    sandbox = new KernelSandbox();
  });
  after(() => sandbox[Symbol.asyncDispose]());

  it("tells versions and CPUs", () => {
    assert.match(libbpfVersion(), /^1\.7/);
    assert.ok(possibleCpus() >= 1);
  });

  it("mounts and unmounts a bpffs of its own", async () => {
    const path = join(sandbox.dir, "mounted");
    mkdirSync(path);
    assert.equal(isBpffs(path), false);
    await mountBpffs(path);
    try {
      assert.equal(isBpffs(path), true);
      assert.equal(statSync(path).mode & 0o777, 0o700);
    } finally {
      await unmount(path);
    }
    assert.equal(isBpffs(path), false);
    await assert.rejects(() => unmount(path), isError("invalid"));
    await assert.rejects(() => mountBpffs(join(path, "nothing")), isError("not-found"));
    assert.throws(() => isBpffs(join(path, "nothing")), isError("not-found"));
  });

  it("cgroupId is the inode of the cgroup", (test) => {
    const cgroup = sandbox.cgroup();
    if (cgroup === undefined) return test.skip("no cgroup v2");
    assert.equal(cgroupId(cgroup), statSync(cgroup, { bigint: true }).ino);
    assert.throws(() => cgroupId("/no/such"), isError("not-found"));
    return undefined;
  });

  it("statistics are counted while they are enabled", async () => {
    const insns = Buffer.from("b7000000020000009500000000000000", "hex");
    using program = await BpfProgram.loadRaw({ type: "xdp", name: "counted", license: "GPL", insns });
    const { loadedAt } = program.info;
    assert.ok(Math.abs(loadedAt.getTime() - Date.now()) < 10_000, String(loadedAt));
    assert.equal((await list("prog")).find((each) => each.id === program.info.id)?.tag, program.info.tag);
    assert.equal(program.xlated().length, 16);
    using statistics = RunStatistics.enable();
    assert.ok(statistics.fd > 0);
  });

  it("the kernel's own types are listed and read", async () => {
    const vmlinux = (await list("btf")).find((each) => each.name === "vmlinux");
    assert.ok(vmlinux?.isKernel);
    const bytes = rawBtf(vmlinux.id);
    assert.equal(bytes.length, vmlinux.size);
    assert.equal(bytes.readUInt16LE(0), 0xeb9f);
    assert.throws(() => rawBtf(0x7fffffff), isError("not-found"));
  });

  it("a netlink socket asks in another namespace, and hears of changes there", async () => {
    const { name, path } = sandbox.netns();
    using netns = openNetns(path);
    await using socket = NetlinkSocket.open({ family: "route", netns, groups: [linkGroup] });
    await socket.send(request(messageTypes.getLink, flags.request | flags.dump, 1));
    const types: number[] = [];
    for await (const event of socket) {
      assert.equal(event.kind, "data");
      if (event.kind === "data") types.push(...typesIn(event.data));
      if (types.includes(messageTypes.done)) break;
    }
    assert.equal(types.filter((type) => type === messageTypes.newLink).length, 1, "only the loopback is there");
    sandbox.ip(name, "link", "add", "d0", "type", "veth", "peer", "name", "d1");
    const tells = (event: NetlinkEvent | undefined, device: string): boolean =>
      event?.kind === "data" && event.data.includes(`${device}\0`);
    while (!tells(await socket.next(), "d0"));
  });

  it("a netlink socket has one reader, who learns of its end", async () => {
    const socket = NetlinkSocket.open({ family: "route" });
    const waiting = socket.next();
    await assert.rejects(() => socket.next(), TypeError);
    await socket.close();
    assert.equal(await waiting, undefined);
    assert.equal(await socket.next(), undefined);
    await assert.rejects(() => socket.send(Buffer.alloc(16)), isError("closed"));
    assert.throws(() => NetlinkSocket.open({ family: 999 }), isError("not-supported"));
    assert.throws(() => NetlinkSocket.open({ family: "route", netns: "/no/such" }), isError("not-found"));
  });

  it("a reader that falls behind is told of the overrun, and goes on", async () => {
    const { path } = sandbox.netns();
    await using socket = NetlinkSocket.open({ family: "route", netns: path, window: 2 });
    // Every answer to a bad request carries it back: 4 MiB of socket buffer fill soon.
    const bad = Buffer.alloc(60_000);
    request(messageTypes.getLink, flags.request | flags.ack, 1).copy(bad);
    bad.writeUInt32LE(bad.length, 0);
    bad.writeUInt16LE(0x7fff, 4);
    for (let count = 0; count < 20_000; count++) await socket.send(bad);
    const kinds = new Set<string>();
    for (let event = await socket.next(); event; event = await socket.next()) {
      kinds.add(event.kind);
      if (event.kind === "overrun") break;
    }
    assert.ok(kinds.has("overrun"));
  });

  it("sockets and namespaces leave no descriptor", async () => {
    const { path } = sandbox.netns();
    const start = openDescriptors();
    for (let count = 0; count < 50; count++) {
      using netns = openNetns(path);
      const socket = NetlinkSocket.open({ family: "route", netns });
      await socket.close();
      await socket.close();
    }
    await until("all are gone", () => openDescriptors() === start);
  });
});
