import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { chainCounters, readChainCounters } from "./counters.ts";
import { generateChain, mainSlots } from "./generate.ts";
import type { ChainBody } from "./generate.ts";
import { biasCode, chainHooks, needsMain } from "./hook.ts";
import type { ChainHook } from "./hook.ts";
import * as asm from "./insn.ts";
import type { Insn } from "./insn.ts";

const COUNTERS_FD = 7;
const PROG_ARRAY_FD = 8;
const STACK_TOP = 4096;
const CONTEXT = 8192;
const COUNTERS = 16384;
const GARBAGE = 0xdead_beefn;

/** Runs what the generator emits, over 64 kB of flat memory. A tail call leads to `programs`. */
function run(
  insns: readonly Insn[],
  memory: DataView,
  rowBytes: number,
  programs: readonly (readonly Insn[] | undefined)[],
  depth = 0,
): number {
  const registers = new BigUint64Array(11).fill(GARBAGE);
  const get = (register: number): bigint => registers[register] as bigint;
  registers[1] = BigInt(CONTEXT);
  const calls: { at: number; saved: BigUint64Array }[] = [];
  registers[10] = BigInt(STACK_TOP - depth * 512);
  for (let at = 0, steps = 0; ; steps++) {
    assert.ok(steps < 10_000, "the program ends");
    const { code, dst, src, off, imm } = insns[at++] as Insn;
    const signed = BigInt(imm);
    switch (code) {
      case 0x18:
        registers[dst] = signed;
        at++;
        break;
      case 0xbf:
        registers[dst] = get(src);
        break;
      case 0xbc:
        registers[dst] = get(src) & 0xffff_ffffn;
        break;
      case 0xb7:
        registers[dst] = signed;
        break;
      case 0x0f:
        registers[dst] = get(dst) + get(src);
        break;
      case 0x1f:
        registers[dst] = get(dst) - get(src);
        break;
      case 0x07:
        registers[dst] = get(dst) + signed;
        break;
      case 0x04:
        registers[dst] = (get(dst) + signed) & 0xffff_ffffn;
        break;
      case 0x67:
        registers[dst] = get(dst) << signed;
        break;
      case 0x79:
        registers[dst] = memory.getBigUint64(Number(get(src)) + off, true);
        break;
      case 0x61:
        registers[dst] = BigInt(memory.getUint32(Number(get(src)) + off, true));
        break;
      case 0x7b:
        memory.setBigUint64(Number(get(dst)) + off, get(src), true);
        break;
      case 0x62:
        memory.setInt32(Number(get(dst)) + off, imm, true);
        break;
      case 0x05:
        at += off;
        break;
      case 0x15:
        if (get(dst) === BigInt.asUintN(64, signed)) at += off;
        break;
      case 0x16:
        if (BigInt.asUintN(32, get(dst)) === BigInt.asUintN(32, signed)) at += off;
        break;
      case 0x25:
        if (get(dst) > BigInt.asUintN(64, signed)) at += off;
        break;
      case 0x85:
        if (src === asm.PSEUDO_CALL) {
          calls.push({ at, saved: registers.slice(6, 11) });
          at += imm;
        } else if (imm === asm.HELPER_MAP_LOOKUP) {
          assert.equal(get(1), BigInt(COUNTERS_FD));
          const row = memory.getUint32(Number(get(2)), true);
          registers.fill(GARBAGE, 0, 6);
          registers[0] = BigInt(COUNTERS + row * rowBytes);
        } else {
          assert.equal(imm, asm.HELPER_TAIL_CALL);
          assert.equal(get(1), BigInt(CONTEXT), "a stub gives the context on");
          assert.equal(get(2), BigInt(PROG_ARRAY_FD));
          const program = programs[Number(get(3))];
          registers.fill(GARBAGE, 0, 6);
          if (program !== undefined) {
            registers[0] = BigInt.asUintN(64, BigInt(run(program, memory, rowBytes, [], depth + 1)));
            const frame = calls.pop();
            assert.ok(frame);
            registers.set(frame.saved, 6);
            at = frame.at;
          }
        }
        break;
      case 0x95: {
        const frame = calls.pop();
        if (frame === undefined) return Number(BigInt.asIntN(32, get(0)));
        registers.set(frame.saved, 6);
        at = frame.at;
        break;
      }
      default:
        assert.fail(`unexpected instruction ${code.toString(16)}`);
    }
  }
}

/** A program that returns the 32-bit number at `index` of the context, after it has spoilt all that it may. */
function member(index: number, stack: number): Insn[] {
  const spoil: Insn[] = [];
  for (const register of [1, 2, 3, 4, 5, 6, 7, 8, 9] as const) spoil.push(asm.movImm(register, -1));
  for (let off = -8; off >= -stack; off -= 8) spoil.push(asm.store64(10, off, 9));
  // Two exits, a jump over one of them, and a wide load: what relocation by position could get wrong.
  return [
    asm.load32(0, 1, index * 4),
    ...spoil,
    ...asm.loadMap(1, 99),
    asm.jumpIfEqual32(0, 1, 1),
    asm.exit,
    asm.movImm(0, 1),
    asm.exit,
  ];
}

interface Case {
  readonly hook: ChainHook;
  readonly members: readonly {
    readonly isStub: boolean;
    readonly stack: number;
    readonly proceedOn: readonly number[];
  }[];
  readonly packets: readonly (readonly number[])[];
}

const verdict = (hook: ChainHook): fc.Arbitrary<number> =>
  fc
    .oneof(
      { weight: 6, arbitrary: fc.integer({ min: -1, max: 5 }) },
      { weight: 1, arbitrary: fc.constantFrom(8, 9, 31, 77, -2, 0x7fff_ffff) },
    )
    .map((code) => (hook === "xdp" && code < 0 ? 2 : code));

const cases: fc.Arbitrary<Case> = fc.constantFrom<ChainHook>("xdp", "tc").chain((hook) =>
  fc
    .array(
      fc.record({
        isStub: fc.boolean(),
        stack: fc.integer({ min: 0, max: 8 }).map((n) => n * 8),
        proceedOn: fc.oneof(
          { weight: 3, arbitrary: fc.constant([chainHooks[hook].past]) },
          { weight: 2, arbitrary: fc.array(verdict(hook), { maxLength: 4 }) },
        ),
      }),
      { maxLength: 6 },
    )
    .chain((members) =>
      fc.record({
        hook: fc.constant(hook),
        members: fc.constant(members),
        packets: fc.array(
          fc.array(fc.oneof(verdict(hook), fc.constant(chainHooks[hook].past)), {
            minLength: members.length,
            maxLength: members.length,
          }),
          { minLength: 1, maxLength: 8 },
        ),
      }),
    ),
);

/** What a chain means, written down without knowing how it is made. */
function model({ hook, members, packets }: Case): {
  verdicts: number[];
  counts: { seen: bigint; proceeded: bigint; exits: bigint; verdicts: Map<string, bigint> }[];
} {
  const codes = chainHooks[hook];
  const counts = members.map(() => ({ seen: 0n, proceeded: 0n, exits: 0n, verdicts: new Map<string, bigint>() }));
  const verdicts = packets.map((packet) => {
    for (const [index, { proceedOn }] of members.entries()) {
      const code = packet[index] as number;
      const count = counts[index];
      assert.ok(count);
      const name = codes.names[code + codes.bias] ?? "other";
      count.seen++;
      count.verdicts.set(name, (count.verdicts.get(name) ?? 0n) + 1n);
      const goesOn = proceedOn.includes(code);
      if (goesOn && index < members.length - 1) count.proceeded++;
      else count.exits++;
      if (!goesOn) return name === "other" ? codes.clamp : code;
    }
    return codes.past;
  });
  return { verdicts, counts };
}

test("generateChain runs every member as the chain's meaning says, and its counters tell what happened", () => {
  fc.assert(
    fc.property(cases, fc.boolean(), (input, hasCounters) => {
      const { hook, members, packets } = input;
      const programs = members.map(({ stack }, index) => member(index, stack));
      const bodies = members.map(({ isStub, stack, proceedOn }, index): ChainBody =>
        isStub
          ? { mode: "stub", slot: index, proceedOn }
          : { mode: "inline", insns: programs[index] as Insn[], stack, proceedOn },
      );
      const code = generateChain({
        hook,
        name: "main",
        members: bodies,
        progArrayFd: PROG_ARRAY_FD,
        countersFd: hasCounters ? COUNTERS_FD : undefined,
      });
      const definition = chainCounters(hook, members.length);
      const memory = new DataView(new ArrayBuffer(65536));
      const verdicts = packets.map((packet) => {
        for (const [index, number] of packet.entries()) memory.setInt32(CONTEXT + index * 4, number, true);
        return run(asm.decodeInsns(code.insns), memory, definition.valueSize, programs);
      });
      const expected = model(input);
      assert.deepEqual(verdicts, expected.verdicts);
      if (!hasCounters) return;
      const raw = new Uint8Array(memory.buffer, COUNTERS, definition.valueSize * definition.maxEntries);
      for (const [index, counts] of readChainCounters(hook, members, raw).entries()) {
        const want = expected.counts[index];
        assert.ok(want);
        assert.deepEqual(
          { seen: counts.seen, proceeded: counts.proceeded, exits: counts.exits },
          { seen: want.seen, proceeded: want.proceeded, exits: want.exits },
        );
        assert.deepEqual(new Map(Object.entries(counts.verdicts).filter(([, count]) => count > 0n)), want.verdicts);
      }
    }),
    { numRuns: 1500 },
  );
});

test("generateChain makes a program that lets everything through when there are no members", () => {
  const { insns } = generateChain({ hook: "tc", name: "main", members: [] });
  assert.deepEqual(asm.decodeInsns(insns).slice(-2), [asm.movImm(0, -1), asm.exit]);
});

test("generateChain keeps a member's jump to its first instruction and turns its exits into jumps to what follows", () => {
  const insns = [asm.movImm(0, 2), asm.jumpIfEqual(1, 0, -2), asm.exit, asm.exit];
  const code = generateChain({
    hook: "xdp",
    name: "main",
    members: [{ mode: "inline", insns, stack: 0, proceedOn: [2] }],
  });
  assert.deepEqual(asm.decodeInsns(code.insns).slice(0, 6), [
    asm.store64(10, -8, 1),
    asm.movImm(0, 2),
    asm.jumpIfEqual(1, 0, -2),
    asm.jump(1),
    asm.jump(0),
    asm.mov32(0, 0),
  ]);
});

test("generateChain keeps the context below the deepest member, on whole words", () => {
  const insns = [asm.movImm(0, 2), asm.exit];
  const code = generateChain({
    hook: "xdp",
    name: "main",
    countersFd: COUNTERS_FD,
    members: [13, 100].map((stack) => ({ mode: "inline", insns, stack, proceedOn: [2] })),
  });
  const decoded = asm.decodeInsns(code.insns);
  assert.deepEqual(decoded[0], asm.store64(10, -112, 1));
  assert.ok(decoded.every(({ code: each, dst, off }) => each !== 0x62 || dst !== 10 || off === -120));
  assert.equal(mainSlots(true), 16);
});

test("generateChain leaves out what stands behind a member that never proceeds", () => {
  const insns = [asm.movImm(0, 1), asm.exit];
  const code = generateChain({
    hook: "xdp",
    name: "main",
    progArrayFd: PROG_ARRAY_FD,
    members: [
      { mode: "inline", insns, stack: 0, proceedOn: [] },
      { mode: "stub", slot: 1, proceedOn: [2] },
    ],
  });
  assert.ok(asm.decodeInsns(code.insns).every((insn) => !asm.isCall(insn)));
  assert.equal(code.funcInfo.length, 8);
});

test("generateChain reaches each stub by a relative call and lists its start", () => {
  const code = generateChain({
    hook: "tc",
    name: "main",
    progArrayFd: PROG_ARRAY_FD,
    members: [0, 1, 2].map((slot) => ({ mode: "stub", slot, proceedOn: [0, -1] })),
  });
  const insns = asm.decodeInsns(code.insns);
  const targets = insns.flatMap((insn, at) =>
    asm.isCall(insn) && insn.src === asm.PSEUDO_CALL ? [at + 1 + insn.imm] : [],
  );
  const starts = new Uint32Array(code.funcInfo.buffer).filter((_, index) => index % 2 === 0);
  assert.deepEqual([0, ...targets], [...starts]);
  for (const [slot, start] of targets.entries()) {
    assert.deepEqual(insns.slice(start, start + 6), [
      ...asm.loadMap(2, PROG_ARRAY_FD),
      asm.movImm(3, slot),
      asm.callHelper(12),
      asm.movImm(0, 2),
      asm.exit,
    ]);
  }
});

test("generateChain refuses stubs without a prog array", () => {
  assert.throws(
    () => generateChain({ hook: "xdp", name: "main", members: [{ mode: "stub", slot: 0, proceedOn: [] }] }),
    TypeError,
  );
});

test("needsMain is false only for one member whose verdicts main would not change", () => {
  assert.equal(needsMain("xdp", [{ proceedOn: [2] }]), false);
  assert.equal(needsMain("xdp", [{ proceedOn: [] }]), false);
  assert.equal(needsMain("xdp", [{ proceedOn: [2, 31] }]), true);
  assert.equal(needsMain("tc", [{ proceedOn: [-1] }]), false);
  assert.equal(needsMain("tc", [{ proceedOn: [-1, 0] }]), true);
  assert.equal(needsMain("xdp", []), true);
  assert.equal(needsMain("xdp", [{ proceedOn: [2] }, { proceedOn: [2] }]), true);
});

test("biasCode makes the lowest code of a hook 0 and keeps codes apart", () => {
  assert.equal(biasCode("tc", -1), 0);
  assert.equal(biasCode("tc", 0xffff_ffff), 0);
  assert.equal(biasCode("xdp", 4), 4);
});
