import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { BpfError, BpfMap, BpfObject, BpfProgram, Btf, rawBtf } from "./binding.ts";
import type { BpfErrorCode, Instructions, ProgramSpec } from "./binding.ts";
import { KernelSandbox, openDescriptors, u32 } from "./testing/kernel-sandbox.ts";

function isError(code: BpfErrorCode, errnoName?: string): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof BpfError, String(error));
    assert.equal(error.code, code, error.message);
    if (errnoName) assert.equal(error.errnoName, errnoName);
    return true;
  };
}

function specOf(name: string, from: Instructions): ProgramSpec {
  const { insns, funcInfo, funcInfoRecSize, lineInfo, lineInfoRecSize, btfFd, license, type, flags } = from;
  const attachType = from.expectedAttachType === undefined ? {} : { expectedAttachType: from.expectedAttachType };
  return {
    name,
    insns,
    funcInfo,
    funcInfoRecSize,
    lineInfo,
    lineInfoRecSize,
    btfFd,
    license,
    type,
    flags,
    ...attachType,
  };
}

/** An Ethernet frame with an IPv4 header from `source`. */
function packetFrom(source: readonly number[]): Buffer {
  const packet = Buffer.alloc(64);
  packet.writeUInt16BE(0x0800, 12);
  packet[14] = 0x45;
  packet.set(source, 26);
  return packet;
}

describe("BpfObject", () => {
  let sandbox: KernelSandbox;
  let gate: Buffer;
  before(() => {
    sandbox = new KernelSandbox();
    gate = sandbox.compile("gate");
  });
  after(() => sandbox[Symbol.asyncDispose]());

  it("open tells maps, programs and license", async () => {
    await using object = BpfObject.open(gate, { name: "gate", maxEntries: { seen: 77 } });
    const byName = Object.fromEntries(object.maps.map((map) => [map.name, map]));
    const { btfKeyTypeId, btfValueTypeId, ...denied } = byName["denied"]!;
    assert.deepEqual(denied, {
      name: "denied",
      type: "lpm_trie",
      keySize: 8,
      valueSize: 1,
      maxEntries: 64,
      flags: 1,
      isInternal: false,
      isPinnedByName: false,
    });
    assert.ok(btfKeyTypeId > 0 && btfValueTypeId > 0);
    assert.equal(byName["seen"]?.maxEntries, 77);
    assert.equal(byName["shared"]?.isPinnedByName, true);
    assert.deepEqual(
      object.maps.filter((map) => map.isInternal).map((map) => map.name),
      ["gate.rodata", "gate.bss", "gate.data"],
    );
    assert.deepEqual(
      object.programs.map(({ name, section, type, expectedAttachType, flags }) => [
        name,
        section,
        type,
        expectedAttachType,
        flags,
      ]),
      [
        ["gate", "xdp", "xdp", "xdp", 0],
        ["cut", "xdp", "xdp", "xdp", 0],
        ["pass", "xdp.frags", "xdp", "xdp", 32],
      ],
    );
    assert.equal(object.license, "GPL");
  });

  it("globals tells every variable with its place and what an element is", async () => {
    await using object = BpfObject.open(gate);
    const globals = Object.fromEntries(object.globals().map((global) => [global.name, global]));
    const shape = (name: string): unknown[] => {
      const { section, size, kind, elementSize, count, isSigned } = globals[name]!;
      return [section, size, kind, elementSize, count, isSigned];
    };
    assert.deepEqual(shape("watched_port"), [".rodata", 2, "int", 2, 1, false]);
    assert.deepEqual(shape("is_strict"), [".rodata", 1, "int", 1, 1, false]);
    assert.deepEqual(shape("offsets"), [".rodata", 4, "int", 1, 4, true]);
    assert.deepEqual(shape("masks"), [".rodata", 32, "int", 8, 4, false]);
    assert.deepEqual(shape("limits"), [".rodata", 8, "bytes", 8, 1, false]);
    assert.deepEqual(shape("packets_seen"), [".bss", 8, "int", 8, 1, false]);
    assert.deepEqual(shape("first_sequence"), [".data", 4, "int", 4, 1, false]);
    assert.deepEqual(shape("label").slice(0, 5), [".rodata", 8, "int", 1, 8]);
    assert.equal(object.btf().readUInt16LE(0), 0xeb9f);
  });

  it("setGlobal reaches the program", async () => {
    await using object = BpfObject.open(gate);
    object.setGlobals({
      is_strict: true,
      first_sequence: 100,
      offsets: [-1, -2],
      masks: [1n << 63n],
      label: "set",
      limits: u32(5, 6),
    });
    const offsetOf = (name: string): number => object.globals().find((global) => global.name === name)!.offset;
    await object.load();
    using rodata = object.map("bpf.rodata");
    const bytes = rodata.getRaw(u32(0))!;
    assert.equal(bytes.readInt8(offsetOf("offsets") + 1), -2);
    assert.equal(bytes.readInt8(offsetOf("offsets") + 2), 3, "the rest keeps its value");
    assert.equal(bytes.readBigUInt64LE(offsetOf("masks")), 1n << 63n);
    assert.equal(bytes.toString("latin1", offsetOf("label"), offsetOf("label") + 8), "set\0\0\0\0\0");
    assert.equal(bytes.readUInt32LE(offsetOf("limits") + 4), 6);
    using program = object.program("gate");
    assert.equal((await program.testRun({ data: Buffer.alloc(64) })).retval, 1);
  });

  it("setGlobal refuses what does not fit", async () => {
    await using object = BpfObject.open(gate);
    assert.throws(() => object.setGlobal("nothing", 1), isError("not-found"));
    assert.throws(() => object.setGlobal("watched_port", 65536), RangeError);
    assert.throws(() => object.setGlobal("watched_port", 1.5), RangeError);
    assert.throws(() => object.setGlobal("offsets", [128]), RangeError);
    assert.throws(() => object.setGlobal("offsets", [1, 2, 3, 4, 5]), RangeError);
    assert.throws(() => object.setGlobal("offsets", 1), RangeError);
    assert.throws(() => object.setGlobal("label", "far too long"), RangeError);
    assert.throws(() => object.setGlobal("limits", 1), RangeError);
    assert.throws(() => object.setGlobal("limits", new Uint8Array(7)), RangeError);
    await object.load();
    assert.throws(() => object.setGlobal("watched_port", 1), isError("invalid"));
  });

  it("load gives maps and programs that outlive the object", async () => {
    const object = BpfObject.open(gate);
    await object.load();
    using program = object.program("gate");
    using seen = object.map("seen");
    using denied = object.map("denied");
    await object.close();
    await object.close();
    denied.setRaw(Buffer.from([16, 0, 0, 0, 10, 9, 0, 0]), Buffer.from([1]));
    assert.equal((await program.testRun({ data: packetFrom([10, 9, 8, 7]) })).retval, 1);
    assert.equal((await program.testRun({ data: packetFrom([10, 8, 8, 7]) })).retval, 2);
    assert.equal(seen.getRaw(Buffer.from([10, 9, 8, 7]))?.readBigUInt64LE(), 1n);
    assert.equal(program.info.name, "gate");
    assert.ok(program.info.mapIds.includes(seen.info.id));
    assert.throws(() => object.map("seen"), isError("closed"));
    await assert.rejects(() => object.load(), isError("closed"));
  });

  it("load pins by name only where it is told", async () => {
    const bpffs = await sandbox.bpffs();
    await using alone = BpfObject.open(gate, { autoload: ["pass"] });
    await alone.load();
    assert.throws(() => statSync("/sys/fs/bpf/shared"));
    await using first = BpfObject.open(gate, { autoload: ["pass"], mapPinDir: bpffs });
    await first.load();
    await using second = BpfObject.open(gate, { autoload: ["pass"], mapPinDir: bpffs });
    await second.load();
    using pinned = BpfMap.openPinned(join(bpffs, "shared"));
    using firstMap = first.map("shared");
    using secondMap = second.map("shared");
    using aloneMap = alone.map("shared");
    assert.deepEqual([firstMap.info.id, secondMap.info.id], [pinned.info.id, pinned.info.id]);
    assert.notEqual(aloneMap.info.id, pinned.info.id);
    assert.throws(() => first.program("gate"), isError("invalid"), "not loaded");
    using pass = first.program("pass");
    assert.equal(pass.info.name, "pass");
  });

  it("load takes maps of others", async () => {
    await using first = BpfObject.open(gate);
    await first.load();
    using seen = first.map("seen");
    await using second = BpfObject.open(gate, { reuseMaps: { seen } });
    await second.load();
    using program = second.program("gate");
    await program.testRun({ data: packetFrom([1, 2, 3, 4]) });
    assert.equal(seen.getRaw(Buffer.from([1, 2, 3, 4]))?.readBigUInt64LE(), 1n);
    assert.throws(() => BpfObject.open(gate, { reuseMaps: { nothing: seen } }), isError("not-found"));
    seen.close();
    assert.throws(() => BpfObject.open(gate, { reuseMaps: { seen } }), isError("closed"));
  });

  it("load rejects with the verifier's log of the program that was refused", async () => {
    await using object = BpfObject.open(sandbox.compile("refused"));
    await assert.rejects(
      () => object.load(),
      (error) => {
        assert.ok(error instanceof BpfError);
        assert.equal(error.code, "verifier");
        assert.equal(error.errnoName, "EACCES");
        assert.match(error.message, /^load program unchecked: the verifier refused it: .*R\d .*\(EACCES\)$/);
        assert.match(error.verifierLog, /invalid access to packet/);
        assert.match(error.warnings, /BPF program load failed/);
        assert.doesNotMatch(error.warnings, /invalid access to packet/);
        return true;
      },
    );
    await assert.rejects(() => object.load(), isError("invalid"));
    await using other = BpfObject.open(sandbox.compile("refused"), { autoload: ["harmless"], kernelLogLevel: 4 });
    await other.load();
    assert.match(other.verifierLog("harmless"), /processed 2 insns/);
  });

  it("open says what is wrong with the bytes", () => {
    assert.throws(() => BpfObject.open(Buffer.from("garbage")), isError("not-elf"));
    assert.throws(() => BpfObject.open(new Uint8Array()), isError("invalid"));
    for (const length of [16, 64, 300, gate.length >> 1, gate.length - 8]) {
      assert.throws(() => BpfObject.open(gate.subarray(0, length)), BpfError);
    }
    assert.throws(() => BpfObject.open("text" as never), TypeError);
    assert.throws(() => BpfObject.open(sandbox.compile("gate", "-g0")), isError("no-btf"));
    assert.throws(() => BpfObject.open(gate, { autoload: ["nothing"] }), isError("not-found"));
    assert.throws(() => BpfObject.open(gate, { maxEntries: { nothing: 1 } }), isError("not-found"));
  });

  it("open gives a program the type that its section does not say", async () => {
    await using object = BpfObject.open(sandbox.compile("refused"), {
      autoload: ["harmless"],
      programTypes: { harmless: { type: "sched_cls" } },
    });
    await object.load();
    using program = object.program("harmless");
    assert.equal(program.info.type, "sched_cls");
  });

  it("an object without BTF loads where it needs none", async () => {
    await using object = BpfObject.open(sandbox.compile("refused", "-g0"), { autoload: ["harmless"] });
    assert.throws(() => object.globals(), isError("no-btf"));
    assert.throws(() => object.btf(), isError("no-btf"));
    await object.load();
    using program = object.program("harmless");
    assert.equal((await program.testRun({ data: new Uint8Array(64) })).retval, 2);
  });

  it("load relocates against the running kernel", async () => {
    await using object = BpfObject.open(sandbox.compile("relocated"));
    object.setGlobal("wanted_tgid", process.pid);
    await object.load();
    using program = object.program("on_enter");
    await using link = await program.attach({ rawTracepoint: "sys_enter" });
    statSync("/");
    assert.equal(link.info.tracepoint, "sys_enter");
    using bss = object.map("bpf.bss");
    const hits = object.globals().find((global) => global.name === "hits")!;
    assert.ok(bss.getRaw(u32(0))!.readBigUInt64LE(hits.offset) > 0n);
  });

  it("instructions load again as a program of our own", async () => {
    await using object = BpfObject.open(gate);
    await object.prepare();
    const from = object.instructions("gate");
    assert.equal(from.insns.length % 8, 0);
    assert.deepEqual(from.maps.map((map) => map.name).toSorted(), [
      "bpf.bss",
      "bpf.data",
      "bpf.rodata",
      "denied",
      "events",
      "seen",
    ]);
    assert.equal(from.license, "GPL");
    assert.equal(from.type, "xdp");
    assert.equal(from.needsModuleBtf, false);
    assert.equal(from.btf?.readUInt16LE(0), 0xeb9f);
    using program = await BpfProgram.loadRaw(specOf("again", from));
    using seen = object.map("seen");
    assert.ok(program.info.mapIds.includes(seen.info.id));
    assert.equal((await program.testRun({ data: packetFrom([5, 5, 5, 5]) })).retval, 2);
    assert.equal(seen.getRaw(Buffer.from([5, 5, 5, 5]))?.readBigUInt64LE(), 1n);

    // The same with type information loaded by ourselves, and a subprogram.
    const cut = object.instructions("cut");
    assert.equal(cut.funcInfo.length / cut.funcInfoRecSize, 2);
    using btf = Btf.load(cut.btf!);
    const { btfFd, ...rest } = specOf("cut", cut);
    assert.ok(btfFd! > 0);
    using cutProgram = await BpfProgram.loadRaw({ ...rest, btf });
    const result = await cutProgram.testRun({ data: new Uint8Array(100) });
    assert.deepEqual([result.retval, result.data.length], [3, 96]);
    assert.ok(rawBtf(cutProgram.info.btfId).equals(cut.btf!));
    assert.equal(object.instructions("pass").flags, 32);

    await object.load();
    using loaded = object.program("gate");
    assert.equal(loaded.info.tag, program.info.tag);
    assert.throws(() => object.instructions("nothing"), isError("not-found"));
    await assert.rejects(() => object.prepare(), isError("invalid"));
  });

  it("loadRaw grows the log until it fits", async () => {
    // Far more log at level 2 than the first buffer holds: a counting loop.
    const loop = Buffer.from(
      "b7010000000000000701000001000000a501feff00040000b700000002000000" + "9500000000000000",
      "hex",
    );
    using program = await BpfProgram.loadRaw({ type: "xdp", name: "loop", license: "GPL", insns: loop, logLevel: 2 });
    assert.ok(program.loadLog.length > 1 << 20, `${program.loadLog.length} bytes`);
    assert.match(program.loadLog, /processed \d+ insns/);
    await assert.rejects(
      () =>
        BpfProgram.loadRaw({ type: "xdp", name: "loop", license: "GPL", insns: loop, logLevel: 2, logSizeMax: 65536 }),
      isError("no-space", "ENOSPC"),
    );
    await assert.rejects(
      () => BpfProgram.loadRaw({ type: "xdp", name: "x", license: "GPL", insns: new Uint8Array(7) }),
      RangeError,
    );
    await assert.rejects(
      () => BpfProgram.loadRaw({ type: "no such", name: "x", license: "GPL", insns: loop }),
      isError("invalid"),
    );
    assert.throws(() => Btf.load(new Uint8Array(24)), BpfError);
  });

  it("300 times open, load and close leave no descriptor", async () => {
    const refused = sandbox.compile("refused");
    const round = async (): Promise<void> => {
      const object = BpfObject.open(gate);
      await object.load();
      object.program("gate").close();
      object.map("seen").close();
      await object.close();
      await using other = BpfObject.open(refused);
      await assert.rejects(() => other.load());
    };
    await round();
    const start = openDescriptors();
    for (let count = 0; count < 300; count++) await round();
    assert.equal(openDescriptors(), start);
  });
});
