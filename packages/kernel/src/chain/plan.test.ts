import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import * as asm from "./insn.ts";
import type { Insn } from "./insn.ts";
import { chooseMode, planChain } from "./plan.ts";
import type { ChainOffers, MemberFacts } from "./plan.ts";
import { MAX_INLINE_LENGTH, scanCode } from "./scan.ts";

const both: ChainOffers = { inline: { has: true }, stub: { has: true } };
const pass = [asm.movImm(0, 2), asm.exit];

function facts(over: Partial<MemberFacts> & { readonly insns?: readonly Insn[] } = {}): MemberFacts {
  const { insns = pass, ...rest } = over;
  return {
    name: "a",
    code: scanCode(insns),
    stack: 0,
    verifiedInsns: 10,
    mapIds: [],
    license: "GPL",
    hasFrags: false,
    isDeviceBound: false,
    ...rest,
  };
}

function inline(...members: MemberFacts[]): Parameters<typeof planChain>[0] {
  return members.map((each) => ({ facts: each, wants: "inline" as const }));
}

const raw = (code: number, src = 0, imm = 0): Insn => ({ code, dst: 0, src, off: 0, imm });

for (const [what, insns, why] of [
  ["calls a subprogram", [asm.callFunction(0), asm.exit], "has subprograms"],
  ["has a callback", [raw(0x18, 4), raw(0), ...pass], "has callbacks"],
  ["tail-calls", [asm.callHelper(12), ...pass], "makes tail calls"],
  ["calls a kfunc (bpf_throw, bpf_obj_new)", [raw(0x85, 2, 4711), ...pass], "calls kernel functions"],
  ["loads from the packet the old way", [raw(0x30), ...pass], "has packet loads"],
  ["has a run-time bounded loop", [raw(0xe5), ...pass], "has loops bounded at run time"],
  ["names maps by index", [raw(0x18, 5), raw(0), ...pass], "names its maps by index"],
] as const) {
  test(`chooseMode makes a stub of a program that ${what}`, () => {
    const placed = chooseMode(facts({ insns }));
    assert.equal(placed.mode, "stub");
    assert.ok(placed.why?.startsWith(why), placed.why);
  });
}

test("chooseMode inlines plain programs, whatever of maps, values and kernel variables they name", () => {
  for (const src of [0, 1, 2, 3])
    assert.deepEqual(chooseMode(facts({ insns: [raw(0x18, src, 0x95), raw(0, 0, 0x95), ...pass] })), {
      mode: "inline",
    });
});

test("chooseMode does not take the second half of a wide load for an instruction", () => {
  const code = scanCode([raw(0x18, 1, 12), { code: 0, dst: 0, src: 0, off: 0, imm: 12 }, ...pass]);
  assert.equal(code.obstacle, undefined);
  assert.equal(code.tailCalls, 0);
});

test("chooseMode draws the line at what main needs of the stack", () => {
  assert.equal(chooseMode(facts({ stack: 496 })).mode, "inline");
  assert.match(chooseMode(facts({ stack: 497 })).why ?? "", /^uses 497 bytes of stack/);
  assert.match(chooseMode(facts({ insns: [asm.store64(10, -504, 1), ...pass], stack: 8 })).why ?? "", /^uses 504/);
});

test("chooseMode draws the line at jumps of 16 bits", () => {
  const long = (length: number): Insn[] => [...Array.from({ length: length - 1 }, () => asm.movImm(0, 2)), asm.exit];
  assert.equal(chooseMode(facts({ insns: long(MAX_INLINE_LENGTH) })).mode, "inline");
  assert.match(chooseMode(facts({ insns: long(MAX_INLINE_LENGTH + 1) })).why ?? "", /32768 instructions/);
});

test("chooseMode keeps a program of another licence out of main, and one of which only the descriptor is known", () => {
  assert.equal(chooseMode(facts({ license: "Dual BSD/GPL" })).mode, "inline");
  assert.match(chooseMode(facts({ license: "Proprietary" })).why ?? "", /licensed "Proprietary"/);
  assert.match(chooseMode(facts({ code: undefined })).why ?? "", /loaded program/);
});

test("planChain turns the member with most maps of its own into a stub when main would name more than 64", () => {
  const maps = (from: number, count: number): number[] => Array.from({ length: count }, (_, index) => from + index);
  const plan = planChain(
    inline(
      facts({ mapIds: maps(0, 20) }),
      facts({ mapIds: maps(100, 30) }),
      facts({ mapIds: [...maps(0, 20), ...maps(200, 20)] }),
    ),
    both,
  );
  assert.ok(plan.ok);
  assert.deepEqual(
    plan.placed.map(({ mode }) => mode),
    ["inline", "stub", "inline"],
  );
  assert.match(plan.placed[1]?.why ?? "", /maps of one program to 70 of 64/);
});

test("planChain counts a map that members share once", () => {
  const plan = planChain(
    inline(...Array.from({ length: 10 }, () => facts({ mapIds: Array.from({ length: 63 }, (_, id) => id) }))),
    both,
  );
  assert.ok(plan.ok);
  assert.ok(plan.placed.every(({ mode }) => mode === "inline"));
});

test("planChain makes stubs of the heaviest until main can be verified", () => {
  const plan = planChain(
    inline(facts({ verifiedInsns: 300_000 }), facts({ verifiedInsns: 600_000 }), facts({ verifiedInsns: 650_000 })),
    both,
  );
  assert.ok(plan.ok);
  assert.deepEqual(
    plan.placed.map(({ mode }) => mode),
    ["inline", "inline", "stub"],
  );
  assert.match(plan.placed[2]?.why ?? "", /verify at once to 1550600 of 1000000/);
});

test("planChain lets deep members be inlined only where no stub calls from the same frame", () => {
  const deep = facts({ stack: 300 });
  const alone = planChain(inline(deep, facts()), both);
  assert.ok(alone.ok && alone.placed.every(({ mode }) => mode === "inline"));
  const mixed = planChain([...inline(deep), { facts: facts(), wants: "stub" }], both);
  assert.ok(mixed.ok);
  assert.deepEqual(
    mixed.placed.map(({ mode }) => mode),
    ["stub", "stub"],
  );
  assert.match(mixed.placed[0]?.why ?? "", /beside stubs 208 are free/);
});

test("planChain names the limit of tail calls when it refuses", () => {
  const stubs = (count: number): Parameters<typeof planChain>[0] =>
    Array.from({ length: count }, () => ({ facts: facts(), wants: "stub" as const }));
  assert.ok(planChain(stubs(33), both).ok);
  const plan = planChain(stubs(34), both);
  assert.ok(!plan.ok);
  assert.equal(plan.limit, "tail-calls");
  assert.match(plan.message, /^34 of its 34 members .* a packet gets 33 tail calls in all/);
  const own = planChain([...stubs(32), ...inline(facts({ insns: [asm.callHelper(12), ...pass] }))], both);
  assert.ok(!own.ok);
  assert.match(own.message, /make 1 tail calls of their own/);
});

test("planChain uses what the kernel's self-test found", () => {
  const why = "the second member did not run";
  const noInline = planChain(inline(facts()), { inline: { has: false, why }, stub: { has: true } });
  assert.ok(noInline.ok);
  assert.deepEqual(noInline.placed, [{ mode: "stub", why: `cannot be copied on this kernel: ${why}` }]);
  const noStub = planChain(inline(facts({ name: "b", license: "X" })), {
    inline: { has: true },
    stub: { has: false, why },
  });
  assert.ok(!noStub.ok);
  assert.equal(noStub.limit, "no-stubs");
  assert.match(noStub.message, /^b is licensed "X".*the second member did not run/);
});

test("planChain knows fragments only when every member does, and refuses device-bound members", () => {
  const frags = planChain(inline(facts({ hasFrags: true }), facts({ hasFrags: true })), both);
  assert.ok(frags.ok && frags.hasFrags);
  const one = planChain(inline(facts({ hasFrags: true }), facts()), both);
  assert.ok(one.ok && !one.hasFrags);
  const none = planChain([], both);
  assert.ok(none.ok && !none.hasFrags);
  const bound = planChain(inline(facts(), facts({ isDeviceBound: true })), both);
  assert.ok(!bound.ok);
  assert.equal(bound.limit, "device-bound");
});

test("planChain never exceeds a limit that it knows, and gives a reason for every change", () => {
  const member = fc.record({
    facts: fc
      .record({
        stack: fc.integer({ min: 0, max: 512 }),
        verifiedInsns: fc.integer({ min: 1, max: 900_000 }),
        mapIds: fc.array(fc.integer({ min: 1, max: 120 }), { maxLength: 40 }),
        license: fc.constantFrom("GPL", "MIT"),
      })
      .map(facts),
    wants: fc.constantFrom("inline" as const, "stub" as const),
  });
  fc.assert(
    fc.property(fc.array(member, { maxLength: 33 }), (members) => {
      const plan = planChain(members, both);
      assert.ok(plan.ok);
      assert.deepEqual(plan, planChain(members, both));
      const inlined = members.filter((_, index) => plan.placed[index]?.mode === "inline").map((each) => each.facts);
      const hasStubs = inlined.length < members.length;
      assert.ok(new Set(inlined.flatMap(({ mapIds }) => mapIds)).size + 1 + (hasStubs ? 1 : 0) <= 64);
      assert.ok(inlined.reduce((sum, { verifiedInsns }) => sum + verifiedInsns, 0) <= 1_000_000);
      for (const { stack } of inlined) assert.ok(Math.ceil(stack / 8) * 8 + 16 <= (hasStubs ? 224 : 512));
      for (const [index, { wants }] of members.entries())
        assert.equal(plan.placed[index]?.why !== undefined, wants === "inline" && plan.placed[index]?.mode === "stub");
    }),
  );
});
