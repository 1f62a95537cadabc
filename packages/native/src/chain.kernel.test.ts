import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import type { MemberMode } from "@bpfleet/kernel";
import { chainHooks } from "@bpfleet/kernel/chain";
import type { ChainHook } from "@bpfleet/kernel/chain";
import { BpfObject, rawBtf } from "./binding.ts";
import { selfTestChain } from "./chain-self-test.ts";
import { buildChain, createChainCounters, observeChainCounters, waitForGracePeriod } from "./chain.ts";
import type { ChainPart } from "./chain.ts";
import { frame, PartLoader, verdictFromFrame, verdictOf } from "./testing/chain-parts.ts";
import type { Loaded } from "./testing/chain-parts.ts";
import { KernelSandbox, openDescriptors, u32 } from "./testing/kernel-sandbox.ts";

const [DROP, PASS, TX] = [1, 2, 3];

/** What the chain must answer to a frame that holds each member's verdict, and how many members see it. */
function expected(
  hook: ChainHook,
  proceedOn: readonly (readonly number[])[],
  verdicts: readonly number[],
): { verdict: number; saw: number } {
  const { names, bias, past, clamp } = chainHooks[hook];
  for (const [index, codes] of proceedOn.entries()) {
    const code = verdicts[index] as number;
    if (!codes.includes(code)) return { verdict: names[code + bias] === undefined ? clamp : code, saw: index + 1 };
  }
  return { verdict: past, saw: proceedOn.length };
}

describe("buildChain", () => {
  let loader: PartLoader;
  const parts: Record<ChainHook, Loaded[]> = { xdp: [], tc: [] };
  let descriptors: number;
  before(async () => {
    descriptors = openDescriptors();
    loader = new PartLoader();
    for (const hook of ["xdp", "tc"] as const) {
      parts[hook] = await Promise.all(
        Array.from({ length: 32 }, (_, index) => loader.load(hook, verdictFromFrame(hook, index))),
      );
    }
  });
  after(() => {
    loader[Symbol.dispose]();
    assert.equal(openDescriptors(), descriptors);
  });

  function members(
    hook: ChainHook,
    wishes: readonly { readonly mode: MemberMode; readonly proceedOn: readonly number[] }[],
  ): ChainPart[] {
    return wishes.map((wish, index) => ({ ...(parts[hook][index] as ChainPart), ...wish }));
  }

  for (const hook of ["xdp", "tc"] as const) {
    for (const mode of ["inline", "stub", "mixed"] as const) {
      it(`runs 1 to 32 members of ${hook} in order, ${mode}, each counted exactly`, async () => {
        const { past } = chainHooks[hook];
        for (const length of [1, 2, 3, 5, 10, 20, 32]) {
          const wishes = Array.from({ length }, (_, index) => ({
            mode: mode === "mixed" ? ((["inline", "stub"] as const)[index % 2] as MemberMode) : mode,
            proceedOn: [past],
          }));
          using counters = createChainCounters(hook, length, "chain_test");
          using chain = await buildChain({ hook, name: "b0123456789abcd", members: members(hook, wishes), counters });
          assert.deepEqual(
            chain.placed,
            wishes.map((wish) => ({ mode: wish.mode })),
          );
          assert.equal(chain.program.info.name, "b0123456789abcd");
          // The frame that member n stops, for each n; then one that nobody stops.
          for (let stop = 0; stop <= length; stop++) {
            const verdicts = Array.from({ length }, (_, index) => (index === stop ? 4 : past));
            assert.equal(await verdictOf(chain.program, frame(verdicts)), stop < length ? 4 : past);
          }
          const counts = await observeChainCounters(counters, hook, wishes);
          for (const [index, { seen, exits }] of counts.entries()) {
            assert.equal(seen, BigInt(length + 1 - index), `member ${index} of ${length}`);
            assert.equal(exits, index === length - 1 ? 2n : 1n);
          }
        }
      });
    }
  }

  it("means the same whatever the order, the modes and the codes to proceed on", async () => {
    const code = fc.oneof(fc.integer({ min: -1, max: 4 }), fc.constantFrom(8, 31, 77));
    const chains = fc.constantFrom<ChainHook>("xdp", "tc").chain((hook) =>
      fc
        .array(
          fc.record({
            mode: fc.constantFrom<MemberMode>("inline", "stub"),
            proceedOn: fc.array(code, { maxLength: 4 }),
          }),
          { minLength: 1, maxLength: 8 },
        )
        .chain((wishes) =>
          fc.record({
            hook: fc.constant(hook),
            wishes: fc.constant(wishes),
            frames: fc.array(fc.array(code, { minLength: 8, maxLength: 8 }), { minLength: 1, maxLength: 10 }),
          }),
        ),
    );
    await fc.assert(
      fc.asyncProperty(chains, async ({ hook, wishes, frames }) => {
        using counters = createChainCounters(hook, wishes.length, "chain_test");
        using chain = await buildChain({ hook, name: "b0123456789abcd", members: members(hook, wishes), counters });
        const saw = wishes.map(() => 0n);
        for (const verdicts of frames) {
          const want = expected(
            hook,
            wishes.map(({ proceedOn }) => proceedOn),
            verdicts,
          );
          assert.equal(await verdictOf(chain.program, frame(verdicts)), want.verdict);
          for (let index = 0; index < want.saw; index++) saw[index] = (saw[index] ?? 0n) + 1n;
        }
        const counts = await observeChainCounters(counters, hook, wishes);
        assert.deepEqual(
          counts.map(({ seen }) => seen),
          saw,
        );
      }),
      { numRuns: 60 },
    );
  });

  it("lets everything through without members, and says what no member may say", async () => {
    using empty = await buildChain({ hook: "xdp", name: "empty", members: [] });
    assert.equal(await verdictOf(empty.program, frame([])), PASS);
    using odd = await buildChain({
      hook: "xdp",
      name: "odd",
      members: members("xdp", [{ mode: "inline", proceedOn: [PASS] }]),
    });
    assert.equal(await verdictOf(odd.program, frame([77])), 0);
  });

  it("gives ABORTED through a stub whose prog array is gone, never a pass", async () => {
    using chain = await buildChain({
      hook: "xdp",
      name: "cut",
      members: members("xdp", [{ mode: "stub", proceedOn: [PASS] }]),
    });
    assert.equal(await verdictOf(chain.program, frame([PASS])), PASS);
    chain.progArray?.close();
    await waitForGracePeriod();
    // A worker of the kernel empties it, when it comes to it.
    let verdict: number = PASS;
    for (let left = 1000; left > 0 && verdict === PASS; left--) {
      verdict = await verdictOf(chain.program, frame([PASS]));
      await sleep(10);
    }
    assert.equal(verdict, 0);
  });

  it("declares main and its stubs to the kernel by name", async () => {
    using chain = await buildChain({
      hook: "tc",
      name: "bfeedfeedfeed00",
      members: members("tc", [
        { mode: "stub", proceedOn: [-1] },
        { mode: "stub", proceedOn: [-1] },
      ]),
    });
    const strings = rawBtf(chain.program.info.btfId).toString("latin1");
    for (const name of ["__sk_buff", "bfeedfeedfeed00", "stub_0", "stub_1"])
      assert.ok(strings.includes(`\0${name}\0`), name);
  });
});

describe("buildChain of programs by clang", () => {
  let sandbox: KernelSandbox;
  let object: BpfObject;
  before(async () => {
    sandbox = new KernelSandbox();
    object = BpfObject.open(sandbox.compile("chain"), { name: "chain" });
    object.setGlobal("wanted", 0x0403_0201);
    await object.load();
  });
  after(async () => {
    await object.close();
    await sandbox[Symbol.asyncDispose]();
  });

  const part = (name: string, stack: DisposableStack, mode: MemberMode = "inline"): ChainPart => ({
    program: stack.use(object.program(name)),
    instructions: object.instructions(name),
    mode,
    proceedOn: [PASS],
  });

  it("copies maps, variables and helpers, and runs a program with a function of its own through a stub", async () => {
    using open = new DisposableStack();
    using chain = await buildChain({
      hook: "xdp",
      name: "clang",
      members: [part("looked_up", open), part("called", open), part("looked_up", open)],
    });
    assert.deepEqual(chain.placed, [{ mode: "inline" }, { mode: "stub", why: "has subprograms" }, { mode: "inline" }]);
    assert.equal(await verdictOf(chain.program, frame([1, 2, 3, 4])), DROP, "the variable set before the load");
    assert.equal(await verdictOf(chain.program, frame([7, 7, 0, 0])), PASS);
    assert.equal(await verdictOf(chain.program, frame([7, 8, 0, 0])), DROP, "the function of its own");
    const seen = open.use(object.map("seen"));
    assert.deepEqual(
      [u32(0x0403_0201), u32(0x0707), u32(0x0807)].map((key) => seen.getRaw(key)?.readBigUInt64LE()),
      [1n, 2n, 1n],
    );
  });

  it("gives each member the packet as the one before left it", async () => {
    using open = new DisposableStack();
    for (const mode of ["inline", "stub"] as const) {
      using chain = await buildChain({
        hook: "xdp",
        name: "moves",
        members: [part("moved", open, mode), part("moved", open, mode), part("looked_up", open, mode)],
      });
      assert.equal(await verdictOf(chain.program, frame([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])), DROP);
      assert.equal(await verdictOf(chain.program, frame([1, 2, 3, 4])), PASS);
    }
  });

  it("takes fragments only when every member does, and still runs those that do beside others", async () => {
    using open = new DisposableStack();
    using mixed = await buildChain({
      hook: "xdp",
      name: "mixed_frags",
      members: [part("fragmented", open), part("fragmented_inline", open), part("looked_up", open)],
    });
    assert.deepEqual(
      mixed.placed.map(({ mode }) => mode),
      ["stub", "inline", "inline"],
    );
    assert.equal(await verdictOf(mixed.program, frame([0, 0, 9])), TX);
    using all = await buildChain({
      hook: "xdp",
      name: "all_frags",
      members: [part("fragmented", open), part("fragmented_inline", open)],
    });
    assert.equal(await verdictOf(all.program, frame([0, 0, 9])), TX);
    // Packets larger than a page have fragments: an interface for them takes only programs that know.
    const { near, far } = sandbox.pair();
    for (const { name } of [near, far]) sandbox.ip(name, "link", "set", "v0", "mtu", "9000");
    const at = { xdp: far.ifindex, mode: "native" } as const;
    await assert.rejects(mixed.program.attach(at, { inNetns: far.path }), { errnoName: "ERANGE" });
    await using link = await all.program.attach(at, { inNetns: far.path });
    assert.equal(link.info.programId, all.program.info.id);
  });
});

describe("selfTestChain", () => {
  it("finds both modes on this kernel", async () => {
    assert.deepEqual(await selfTestChain(), { inline: { has: true }, stub: { has: true } });
  });

  it("leaves no descriptor", async () => {
    const descriptors = openDescriptors();
    await selfTestChain();
    assert.equal(openDescriptors(), descriptors);
  });
});
