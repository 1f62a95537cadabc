import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { BpfError, BpfMap, BpfProgram, list, possibleCpus, updateFlags } from "./binding.ts";
import type { BpfErrorCode } from "./binding.ts";
import { KernelSandbox, openDescriptors, u32 } from "./testing/kernel-sandbox.ts";

function isError(code: BpfErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof BpfError && error.code === code;
}

const noPrealloc = 1;
const mmapable = 1024;

describe("BpfMap", () => {
  let sandbox: KernelSandbox;
  before(() => {
    sandbox = new KernelSandbox();
  });
  after(() => sandbox[Symbol.asyncDispose]());

  it("create, write, read and delete single entries", () => {
    using map = BpfMap.create({ type: "hash", name: "single", keySize: 4, valueSize: 8, maxEntries: 2 });
    assert.equal(map.getRaw(u32(1)), undefined);
    map.setRaw(u32(1), u32(10, 0));
    map.setRaw(u32(1), u32(11, 0));
    assert.throws(() => map.setRaw(u32(1), u32(12, 0), updateFlags.noexist), isError("exists"));
    assert.throws(() => map.setRaw(u32(9), u32(12, 0), updateFlags.exist), isError("not-found"));
    map.setRaw(u32(2), u32(20, 0));
    assert.throws(() => map.setRaw(u32(3), u32(30, 0)), isError("too-big"));
    assert.deepEqual(map.getRaw(u32(1)), u32(11, 0));
    const out = Buffer.alloc(8);
    assert.equal(map.getInto(u32(2), out), true);
    assert.deepEqual(out, u32(20, 0));
    assert.equal(map.getInto(u32(3), out), false);
    const first = map.nextKeyRaw()!;
    const second = map.nextKeyRaw(first)!;
    assert.deepEqual(
      [first.readUInt32LE(), second.readUInt32LE()].toSorted((a, b) => a - b),
      [1, 2],
    );
    assert.equal(map.nextKeyRaw(second), undefined);
    assert.equal(map.deleteRaw(u32(1)), true);
    assert.equal(map.deleteRaw(u32(1)), false);
  });

  it("wrong sizes and types never reach the kernel", async () => {
    using map = BpfMap.create({ type: "hash", name: "sizes", keySize: 4, valueSize: 8, maxEntries: 2 });
    for (const size of [0, 3, 5]) {
      assert.throws(() => map.getRaw(Buffer.alloc(size)), RangeError);
      assert.throws(() => map.deleteRaw(Buffer.alloc(size)), RangeError);
      assert.throws(() => map.nextKeyRaw(Buffer.alloc(size)), RangeError);
      assert.throws(() => map.setRaw(Buffer.alloc(size), Buffer.alloc(8)), RangeError);
      assert.throws(() => map.setRaw(Buffer.alloc(4), Buffer.alloc(size)), RangeError);
      assert.throws(() => map.getInto(Buffer.alloc(4), Buffer.alloc(size)), RangeError);
      assert.throws(() => map.updateBatch(Buffer.alloc(size), Buffer.alloc(8), 1), RangeError);
      assert.throws(() => map.deleteBatch(Buffer.alloc(size), 1), RangeError);
    }
    assert.throws(() => map.getRaw("1234" as never), TypeError);
    assert.throws(() => map.getRaw(undefined as never), TypeError);
    assert.throws(() => map.ringbuf(() => {}), isError("invalid"));
    assert.throws(
      () => BpfMap.create({ type: "no such", name: "x", keySize: 4, valueSize: 4, maxEntries: 1 }),
      isError("invalid"),
    );
    assert.throws(
      () => BpfMap.create({ type: "hash", name: "x", keySize: 0, valueSize: 4, maxEntries: 1 }),
      isError("invalid"),
    );
    assert.deepEqual(await map.readBatch(), { keys: Buffer.alloc(0), values: Buffer.alloc(0), count: 0 });
  });

  it("info tells what was created, and list holds it", async () => {
    using map = BpfMap.create({ type: "lru_hash", name: "listed", keySize: 12, valueSize: 20, maxEntries: 64 });
    const { id, type, name, keySize, valueSize, maxEntries } = map.info;
    assert.deepEqual([type, name, keySize, valueSize, maxEntries], ["lru_hash", "listed", 12, 20, 64]);
    assert.deepEqual(
      (await list("map")).find((each) => each.id === id),
      map.info,
    );
    using again = BpfMap.fromId(id);
    assert.deepEqual(again.info, map.info);
    assert.throws(() => BpfMap.fromId(0x7fffffff), isError("not-found"));
  });

  it("100,000 entries go in and come out in batches, every one as it was", async () => {
    const count = 100_000;
    using map = BpfMap.create({
      type: "hash",
      name: "many",
      keySize: 4,
      valueSize: 8,
      maxEntries: count,
      flags: noPrealloc,
    });
    const keys = Buffer.alloc(count * 4);
    const values = Buffer.alloc(count * 8);
    for (let index = 0; index < count; index++) {
      keys.writeUInt32LE(index * 7, index * 4);
      values.writeBigUInt64LE(BigInt(index) << 20n, index * 8);
    }
    assert.equal(await map.updateBatch(keys, values, count), count);
    const read = await map.readBatch();
    assert.equal(read.count, count);
    const seen = new Set<number>();
    for (let index = 0; index < count; index++) {
      const key = read.keys.readUInt32LE(index * 4);
      assert.equal(read.values.readBigUInt64LE(index * 8), BigInt(key / 7) << 20n);
      seen.add(key);
    }
    assert.equal(seen.size, count);
    assert.equal((await map.readBatch({ max: 1000 })).count, 1000);
    assert.equal(await map.deleteBatch(keys.subarray(0, 4000), 1000), 1000);
    assert.equal(await map.deleteBatch(keys.subarray(0, 8000), 2000), 1000, "those that were gone do not count");
    const taken = await map.readBatch({ andDelete: true });
    assert.equal(taken.count, count - 2000);
    assert.equal((await map.readBatch()).count, 0);
  });

  it("a close while a batch is read does not disturb it", async () => {
    const map = BpfMap.create({ type: "array", name: "closed", keySize: 4, valueSize: 4, maxEntries: 50_000 });
    const reading = map.readBatch();
    map.close();
    map.close();
    using other = BpfMap.create({ type: "array", name: "other", keySize: 4, valueSize: 4, maxEntries: 1 });
    assert.equal((await reading).count, 50_000);
    assert.equal(other.isClosed, false);
    assert.equal(map.fd, -1);
    assert.throws(() => map.getRaw(u32(0)), isError("closed"));
    assert.throws(() => map.readBatch(), isError("closed"));
  });

  it("batches of per-CPU maps hold the values of all possible CPUs", async () => {
    for (const type of ["percpu_hash", "percpu_array", "lru_percpu_hash"]) {
      using map = BpfMap.create({ type, name: "percpu", keySize: 4, valueSize: 4, maxEntries: 3 });
      assert.equal(map.wholeValueSize, 8 * possibleCpus());
      const value = Buffer.alloc(map.wholeValueSize);
      for (let cpu = 0; cpu < possibleCpus(); cpu++) value.writeUInt32LE(100 + cpu, cpu * 8);
      const zero = Buffer.alloc(map.wholeValueSize);
      assert.equal(await map.updateBatch(u32(0, 1, 2), Buffer.concat([zero, value, zero]), 3), 3);
      assert.deepEqual(map.getRaw(u32(1)), value);
      const { keys, values, count } = await map.readBatch();
      assert.equal(count, 3);
      const at = [0, 1, 2].findIndex((index) => keys.readUInt32LE(index * 4) === 1);
      assert.deepEqual(values.subarray(at * value.length, (at + 1) * value.length), value);
      assert.throws(() => map.setRaw(u32(1), u32(1)), RangeError);
    }
  });

  it("batches serve tries, and maps that the kernel serves no batches of", async () => {
    using trie = BpfMap.create({
      type: "lpm_trie",
      name: "trie",
      keySize: 8,
      valueSize: 1,
      maxEntries: 8,
      flags: noPrealloc,
    });
    const prefixes = Buffer.concat([u32(8, 10), u32(16, 10), u32(32, 11)]);
    assert.equal(await trie.updateBatch(prefixes, Buffer.from([1, 2, 3]), 3), 3);
    assert.equal((await trie.readBatch()).count, 3);
    assert.equal(await trie.deleteBatch(prefixes, 3), 3);

    using programs = BpfMap.create({ type: "cpumap", name: "cpus", keySize: 4, valueSize: 4, maxEntries: 2 });
    assert.equal(await programs.updateBatch(u32(0), u32(192), 1), 1);
    const read = await programs.readBatch();
    assert.equal(read.values.readUInt32LE(read.keys.readUInt32LE() * 4), 192);
    assert.equal(await programs.deleteBatch(u32(0), 1), 1);
  });

  it("a batch that fails says how far it came", async () => {
    using map = BpfMap.create({ type: "hash", name: "small", keySize: 4, valueSize: 4, maxEntries: 2 });
    await assert.rejects(
      () => map.updateBatch(u32(1, 2, 3, 4), u32(1, 2, 3, 4), 4),
      (error) => error instanceof BpfError && error.code === "too-big" && error.message.includes("2 of 4 done"),
    );
    assert.equal((await map.readBatch()).count, 2);
  });

  it("queues have no keys", async () => {
    using queue = BpfMap.create({ type: "queue", name: "queue", keySize: 0, valueSize: 4, maxEntries: 4 });
    queue.setRaw(new Uint8Array(), u32(5));
    assert.deepEqual(queue.getRaw(new Uint8Array()), u32(5));
    await assert.rejects(() => queue.readBatch(), isError("not-supported"));
  });

  it("maps of maps take descriptors and give ids", () => {
    using inner = BpfMap.create({ type: "array", name: "inner", keySize: 4, valueSize: 4, maxEntries: 1 });
    using outer = BpfMap.create({
      type: "hash_of_maps",
      name: "outer",
      keySize: 4,
      valueSize: 4,
      maxEntries: 4,
      innerMap: inner,
    });
    outer.setRaw(u32(1), u32(inner.fd));
    assert.equal(outer.getRaw(u32(1))?.readUInt32LE(), inner.info.id);
  });

  it("freeze ends writes by system call", () => {
    using map = BpfMap.create({ type: "array", name: "frozen", keySize: 4, valueSize: 4, maxEntries: 1 });
    map.freeze();
    assert.throws(() => map.setRaw(u32(0), u32(1)), isError("not-permitted"));
  });

  it("write and read reach the memory of mappable arrays, within their bounds", () => {
    using map = BpfMap.create({
      type: "array",
      name: "memory",
      keySize: 4,
      valueSize: 4,
      maxEntries: 1000,
      flags: mmapable,
    });
    map.write(u32(77), 8 * 999);
    assert.deepEqual(map.getRaw(u32(999)), u32(77));
    assert.deepEqual(map.read(8 * 999, 4), u32(77));
    assert.throws(() => map.write(u32(1), 8000 - 3), RangeError);
    assert.throws(() => map.read(0xffff_ffff, 8), RangeError);
    using plain = BpfMap.create({ type: "array", name: "plain", keySize: 4, valueSize: 4, maxEntries: 1 });
    assert.throws(() => plain.write(u32(1)), isError("invalid"));
  });

  it("pins open as what they are, and as nothing else", async () => {
    const bpffs = await sandbox.bpffs();
    using map = BpfMap.create({ type: "array", name: "pinned", keySize: 4, valueSize: 4, maxEntries: 1 });
    map.pin(join(bpffs, "map"));
    assert.throws(() => map.pin(join(bpffs, "map")), isError("exists"));
    assert.throws(() => map.pin(join(sandbox.dir, "map")), isError("not-permitted"));
    using again = BpfMap.openPinned(join(bpffs, "map"));
    assert.equal(again.info.id, map.info.id);
    using readOnly = BpfMap.openPinned(join(bpffs, "map"), { readOnly: true });
    assert.throws(() => readOnly.setRaw(u32(0), u32(1)), isError("not-permitted"));
    assert.throws(() => BpfProgram.openPinned(join(bpffs, "map")), isError("invalid"));
    assert.throws(() => BpfMap.openPinned(join(bpffs, "nothing")), isError("not-found"));
  });

  it("ends with the descriptors it began with", async () => {
    const start = openDescriptors();
    for (let count = 0; count < 300; count++) {
      using map = BpfMap.create({ type: "hash", name: "round", keySize: 4, valueSize: 4, maxEntries: 8 });
      await map.readBatch();
    }
    assert.equal(openDescriptors(), start);
  });
});
