import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { Btf, BtfError, decodeValue, encodeValue, layoutChanges, layoutFingerprint, renderType } from "./mod.ts";
import { TypeWriter } from "./testing/type-writer.ts";

function counters(writer: TypeWriter, ...names: readonly string[]): number {
  const u64 = writer.typedef("__u64", writer.int("unsigned long long", 8));
  return writer.struct(
    "datarec",
    names.length * 8,
    names.map((name, at) => ({ name, type: u64, offset: at * 64 })),
  );
}

test("renderType writes C as people declare it", () => {
  const writer = new TypeWriter();
  const u32 = writer.typedef("__u32", writer.int("unsigned int", 4));
  const list = writer.array(u32, 4);
  const pointer = writer.pointer(writer.constant(writer.int("char", 1, { isSigned: true })));
  const outer = writer.struct("flow", 40, [
    { name: "slots", type: list, offset: 0 },
    { name: "name", type: pointer, offset: 128 },
    { name: "low", type: u32, offset: 192, bits: 3 },
    { name: "all", type: writer.pointer(list), offset: 256 },
  ]);
  const btf = Btf.parse(writer.bytes());
  assert.equal(renderType(btf, u32), "__u32");
  assert.equal(
    renderType(btf, outer),
    "struct flow { __u32 slots[4]; const char *name; __u32 low:3; __u32 (*all)[4]; }",
  );
});

test("decodeValue shows counters as bigint, ports and addresses as people write them, text as text", () => {
  const writer = new TypeWriter();
  const u64 = writer.int("unsigned long long", 8);
  const be32 = writer.typedef("__be32", writer.int("unsigned int", 4));
  const be16 = writer.typedef("__be16", writer.int("unsigned short", 2));
  const comm = writer.array(writer.int("char", 1, { isSigned: true }), 16);
  const mac = writer.array(writer.typedef("__u8", writer.int("unsigned char", 1)), 6);
  const flow = writer.struct("flow", 40, [
    { name: "saddr", type: be32, offset: 0 },
    { name: "cookie", type: be32, offset: 32 },
    { name: "dport", type: be16, offset: 64 },
    { name: "mac", type: mac, offset: 80 },
    { name: "packets", type: u64, offset: 128 },
    { name: "comm", type: comm, offset: 192 },
  ]);
  const btf = Btf.parse(writer.bytes());
  const bytes = new Uint8Array(40);
  bytes.set([10, 0, 0, 1, 0, 0, 1, 0, 0, 53, 2, 0, 0, 0, 0, 9]);
  bytes.set([1, 0, 0, 0, 0, 0, 0, 128], 16);
  bytes.set(new TextEncoder().encode("curl"), 24);
  const value = {
    saddr: "10.0.0.1",
    cookie: 256,
    dport: 53,
    mac: "02:00:00:00:00:09",
    packets: 0x8000000000000001n,
    comm: "curl",
  };
  assert.deepEqual(decodeValue(btf, flow, bytes), value);
  assert.deepEqual(encodeValue(btf, flow, value), bytes);
  assert.throws(() => encodeValue(btf, flow, { dport: 65536 }), /encode value\.dport: 65536 does not fit in 16 bits/);
  assert.throws(() => encodeValue(btf, flow, { port: 1 }), /there is no field port; it has saddr, cookie/);
});

test("decodeValue reads bit fields, enumerators, and members without a name", () => {
  const writer = new TypeWriter();
  const u32 = writer.int("unsigned int", 4);
  const s32 = writer.int("int", 4, { isSigned: true });
  const verdict = writer.enumeration("verdict", 4, [
    ["PASS", 0],
    ["DENIED", 1],
  ]);
  const inner = writer.union("", 4, [
    { name: "number", type: u32, offset: 0 },
    { name: "signed", type: s32, offset: 0 },
  ]);
  const outer = writer.struct("s", 16, [
    { name: "low", type: u32, offset: 0, bits: 3 },
    { name: "minus", type: s32, offset: 3, bits: 4 },
    { name: "verdict", type: verdict, offset: 32 },
    { name: "", type: inner, offset: 64 },
    { name: "pad", type: u32, offset: 96 },
  ]);
  const btf = Btf.parse(writer.bytes());
  const bytes = Uint8Array.from([0b01111101, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, 9, 9, 9, 9]);
  const value = { low: 5, minus: -1, verdict: "DENIED", number: 0xffffffff, signed: -1 };
  assert.deepEqual(decodeValue(btf, outer, bytes), value);
  const filled = bytes.with(12, 0).with(13, 0).with(14, 0).with(15, 0);
  assert.deepEqual(encodeValue(btf, outer, value), filled);
});

test("layoutFingerprint ignores padding and the names of types, and nothing else", () => {
  const one = new TypeWriter();
  const two = new TypeWriter();
  const u32 = one.typedef("__u32", one.int("unsigned int", 4));
  const other = two.typedef("uint32_t", two.int("unsigned int", 4));
  const first = one.struct("a", 8, [
    { name: "x", type: u32, offset: 0 },
    { name: "pad", type: u32, offset: 32 },
  ]);
  const same = two.struct("b", 8, [
    { name: "x", type: other, offset: 0 },
    { name: "_reserved", type: other, offset: 32 },
  ]);
  const used = two.struct("a", 8, [
    { name: "x", type: other, offset: 0 },
    { name: "y", type: other, offset: 32 },
  ]);
  const [before, after] = [Btf.parse(one.bytes()), Btf.parse(two.bytes())];
  assert.equal(layoutFingerprint(before, first), layoutFingerprint(after, same));
  assert.notEqual(layoutFingerprint(before, first), layoutFingerprint(after, used));
  assert.deepEqual(layoutChanges({ btf: before, typeId: first }, { btf: after, typeId: used }), ["field y added"]);
});

test("layoutChanges names what became of a struct", () => {
  const [one, two] = [new TypeWriter(), new TypeWriter()];
  const [old, next] = [counters(one, "packets", "bytes"), counters(two, "bytes", "packets", "errors")];
  const changes = layoutChanges(
    { btf: Btf.parse(one.bytes()), typeId: old },
    { btf: Btf.parse(two.bytes()), typeId: next },
  );
  assert.deepEqual(changes, [
    "size 16 → 24",
    "field bytes moved from 8 to 0",
    "field packets moved from 0 to 8",
    "field errors added",
  ]);
});

test("Btf.parse reads a split BTF over its base", () => {
  const base = new TypeWriter();
  const u32 = base.typedef("__u32", base.int("unsigned int", 4));
  const kernel = Btf.parse(base.bytes());
  const split = base.split();
  const own = split.struct("own", 4, [{ name: "x", type: u32, offset: 0 }]);
  const module = Btf.parse(split.bytes(), kernel);
  assert.equal(module.find("own"), own);
  assert.equal(module.find("__u32"), u32);
  assert.equal(renderType(module, own), "struct own { __u32 x; }");
});

test("Btf.parse reads the kernel's own type information", { skip: !hasKernelBtf() && "no BTF" }, () => {
  const btf = Btf.parse(readFileSync("/sys/kernel/btf/vmlinux"));
  const id = btf.find("ethhdr", "struct");
  assert.ok(id !== undefined);
  assert.equal(
    renderType(btf, id),
    "struct ethhdr { unsigned char h_dest[6]; unsigned char h_source[6]; __be16 h_proto; }",
  );
  const frame = Uint8Array.from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
  const value = { h_dest: "02:00:00:00:00:01", h_source: "02:00:00:00:00:02", h_proto: 0x800 };
  assert.deepEqual(decodeValue(btf, id, frame), value);
  for (const [each, { kind }] of btf.types()) {
    if (each % 97 !== 0 || (kind !== "struct" && kind !== "union")) continue;
    renderType(btf, each);
    layoutFingerprint(btf, each);
  }
});

test("layoutFingerprint refuses a type that fans out without end", () => {
  const writer = new TypeWriter();
  let inner = writer.int("int", 4);
  for (let depth = 0; depth < 40; depth++) {
    inner = writer.union("", 4, [
      { name: "", type: inner, offset: 0 },
      { name: "", type: inner, offset: 0 },
    ]);
  }
  const btf = Btf.parse(writer.bytes());
  for (const read of [
    layoutFingerprint,
    renderType,
    (each: Btf, id: number) => decodeValue(each, id, new Uint8Array(4)),
  ])
    assert.throws(() => read(btf, inner), { name: "BtfError", code: "malformed" });
});

test("encodeValue gives back every value that decodeValue gives", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 12 }),
      fc.infiniteStream(fc.nat(255)),
      (shape, stream) => {
        const writer = new TypeWriter();
        const struct = writer.anyStruct(shape);
        const btf = Btf.parse(writer.bytes());
        const bytes = Uint8Array.from({ length: btf.sizeOf(struct) }, () => stream.next().value ?? 0);
        const value = decodeValue(btf, struct, bytes);
        const again = encodeValue(btf, struct, value);
        assert.deepEqual(decodeValue(btf, struct, again), value);
      },
    ),
  );
});

test("Btf.parse and its readers throw nothing but BtfError for damaged type information", () => {
  const writer = new TypeWriter();
  const struct = writer.anyStruct([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  const whole = writer.bytes();
  const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(damage, fc.nat(whole.length), fc.boolean(), (changes, length, cut) => {
      const bytes = whole.slice(0, cut ? length : whole.length);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      refusesQuietly(() => {
        const btf = Btf.parse(bytes);
        for (const [id, { kind }] of btf.types()) {
          refusesQuietly(() => renderType(btf, id));
          if (kind === "function" || kind === "prototype") continue;
          refusesQuietly(() => layoutFingerprint(btf, id));
          refusesQuietly(() => {
            const size = btf.sizeOf(id);
            if (size < 4096) encodeValue(btf, id, decodeValue(btf, id, new Uint8Array(size)));
          });
        }
      });
    }),
    { numRuns: 300 },
  );
  assert.ok(struct > 0);
});

function refusesQuietly(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof BtfError)) throw error;
  }
}

function hasKernelBtf(): boolean {
  try {
    return readdirSync(join("/sys/kernel/btf")).includes("vmlinux");
  } catch {
    return false;
  }
}
