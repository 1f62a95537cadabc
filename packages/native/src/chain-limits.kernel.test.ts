import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { KernelError } from "@bpfleet/base";
import type { MemberMode } from "@bpfleet/kernel";
import { asm } from "@bpfleet/kernel/chain";
import type { Insn } from "@bpfleet/kernel/chain";
import { BpfMap } from "./binding.ts";
import { buildChain, createChainCounters, observeChainCounters } from "./chain.ts";
import { count, frame, PartLoader, verdictFromFrame, verdictOf } from "./testing/chain-parts.ts";
import type { Loaded } from "./testing/chain-parts.ts";
import { openDescriptors } from "./testing/kernel-sandbox.ts";

const [DROP, PASS, TX] = [1, 2, 3];

describe("buildChain at the limits of one program", () => {
  let loader: PartLoader;
  let members: Loaded[];
  let descriptors: number;
  before(async () => {
    descriptors = openDescriptors();
    loader = new PartLoader();
    members = await Promise.all(
      Array.from({ length: 32 }, (_, index) => loader.load("xdp", verdictFromFrame("xdp", index))),
    );
  });
  after(() => {
    loader[Symbol.dispose]();
    assert.equal(openDescriptors(), descriptors);
  });

  it("calls 33 stubs, and refuses the 34th by the name of the limit", async () => {
    const wishes = Array.from({ length: 34 }, (_, index) => ({
      ...(members[index % 32] as Loaded),
      mode: "stub" as const,
      proceedOn: [PASS],
    }));
    using counters = createChainCounters("xdp", 33, "chain_test");
    using chain = await buildChain({ hook: "xdp", name: "full", members: wishes.slice(0, 33), counters });
    assert.equal(await verdictOf(chain.program, frame(Array.from({ length: 32 }, () => PASS))), PASS);
    assert.equal((await observeChainCounters(counters, "xdp", wishes.slice(0, 33))).at(-1)?.seen, 1n);
    await assert.rejects(buildChain({ hook: "xdp", name: "over", members: wishes }), (error) => {
      assert.ok(error instanceof KernelError);
      assert.equal(error.code, "too-big");
      assert.match(
        error.message,
        /^build chain over: 34 of its 34 members are called through stubs; a packet gets 33 tail calls/,
      );
      return true;
    });
  });

  it("makes a stub of a program of another licence, and of one known by its descriptor alone", async () => {
    const foreign = await loader.load("xdp", [asm.movImm(0, PASS), asm.exit], "Proprietary");
    const { program } = members[0] as Loaded;
    using chain = await buildChain({
      hook: "xdp",
      name: "foreign",
      members: [
        { ...foreign, mode: "inline", proceedOn: [PASS] },
        { program, mode: "inline", proceedOn: [PASS] },
      ],
    });
    assert.deepEqual(
      chain.placed.map(({ mode }) => mode),
      ["stub", "stub"],
    );
    assert.match(chain.placed[0]?.why ?? "", /^is licensed "Proprietary"/);
    assert.equal(await verdictOf(chain.program, frame([DROP])), DROP);
  });

  it("runs programs for TCX beside programs for cls_bpf, and says what does not fit when it cannot load anew", async () => {
    const insns = [asm.movImm(0, -1), asm.exit];
    const [plain, tcx] = await Promise.all([loader.load("tc", insns), loader.load("tc", insns, "GPL", "tcx_ingress")]);
    const as = (part: Loaded) => ({ ...part, mode: "stub" as const, proceedOn: [-1] });
    for (const pair of [
      [plain, tcx],
      [tcx, plain],
    ] as const) {
      using chain = await buildChain({ hook: "tc", name: "tcx_or_not", members: pair.map(as) });
      assert.equal(await verdictOf(chain.program, frame([])), -1);
    }
    const bare = { program: tcx.program, expectedAttachType: "tcx_ingress", mode: "stub" as const, proceedOn: [-1] };
    using chain = await buildChain({ hook: "tc", name: "tcx_bare", members: [as(plain), bare] });
    assert.equal(await verdictOf(chain.program, frame([])), -1);
    const unsaid = { program: tcx.program, mode: "stub" as const, proceedOn: [-1] };
    // Only newer kernels compare; older ones just run it.
    using guessed = await buildChain({ hook: "tc", name: "tcx_unsaid", members: [unsaid, as(plain)] }).catch(
      (error) => {
        assert.ok(error instanceof KernelError);
        assert.match(
          error.message,
          /^build chain tcx_unsaid: member does not fit beside the other members \(EINVAL\); /,
        );
        return undefined;
      },
    );
    if (guessed !== undefined) assert.equal(await verdictOf(guessed.program, frame([])), -1);
  });

  it("keeps one program below 64 maps, and the rest behind stubs", async () => {
    using maps = new DisposableStack();
    const heavy = await Promise.all(
      Array.from({ length: 5 }, () => {
        const own = Array.from({ length: 14 }, () =>
          maps.use(BpfMap.create({ type: "percpu_array", name: "own", keySize: 4, valueSize: 8, maxEntries: 1 })),
        );
        return loader.load("xdp", [...own.flatMap((map) => count(map.fd, 0)), asm.movImm(0, PASS), asm.exit]);
      }),
    );
    using counters = createChainCounters("xdp", 5, "chain_test");
    using chain = await buildChain({
      hook: "xdp",
      name: "many_maps",
      counters,
      members: heavy.map((part) => ({ ...part, mode: "inline", proceedOn: [PASS] })),
    });
    assert.deepEqual(
      chain.placed.map(({ mode }) => mode),
      ["inline", "inline", "inline", "inline", "stub"],
    );
    assert.match(chain.placed[4]?.why ?? "", /brings the maps of one program to 70 of 64/);
    assert.equal(await verdictOf(chain.program, frame([])), PASS);
    assert.deepEqual(
      (
        await observeChainCounters(
          counters,
          "xdp",
          heavy.map(() => ({ proceedOn: [PASS] })),
        )
      ).map(({ seen }) => seen),
      [1n, 1n, 1n, 1n, 1n],
    );
  });

  describe("of members that use the stack", () => {
    /** Fills the stack down to `depth` with numbers, so that whatever main keeps in reach is spoilt. */
    const deep = (depth: number): Insn[] => {
      const stores = Array.from({ length: depth / 8 }, (_, index) => asm.store64(10, -8 * (index + 1), 3));
      return [asm.movImm(3, 0x5a5a), ...stores, ...verdictFromFrame("xdp", 0)];
    };
    const build = async (
      depths: readonly number[],
      last: MemberMode,
    ): Promise<{ modes: (string | undefined)[]; verdict: number }> => {
      const loaded = await Promise.all(depths.map((depth) => loader.load("xdp", deep(depth))));
      using counters = createChainCounters("xdp", depths.length + 1, "chain_test");
      using chain = await buildChain({
        hook: "xdp",
        name: "deep",
        counters,
        members: [
          ...loaded.map((part) => ({ ...part, mode: "inline" as const, proceedOn: [PASS] })),
          { ...(members[1] as Loaded), mode: last, proceedOn: [PASS] },
        ],
      });
      return {
        modes: chain.placed.map(({ mode }) => mode),
        verdict: await verdictOf(chain.program, frame([PASS, TX])),
      };
    };

    it("copies what leaves 16 bytes of 512 to main", async () => {
      assert.deepEqual(await build([496, 64, 8], "inline"), {
        modes: ["inline", "inline", "inline", "inline"],
        verdict: TX,
      });
      assert.deepEqual(await build([504, 64, 8], "inline"), {
        modes: ["stub", "inline", "inline", "inline"],
        verdict: TX,
      });
    });

    it("copies beside stubs only what the kernel allows above a function that tail-calls", async () => {
      assert.deepEqual(await build([208], "stub"), { modes: ["inline", "stub"], verdict: TX });
      assert.deepEqual(await build([216], "stub"), { modes: ["stub", "stub"], verdict: TX });
    });

    it("keeps the context out of reach of spills that the verifier removes from a program alone", async () => {
      // Around a call that spoils no register, spills like these count as no stack at all.
      const spilling = [
        asm.movImm(1, 0x5a5a),
        asm.store64(10, -8, 1),
        asm.callHelper(8),
        asm.load64(1, 10, -8),
        asm.movImm(0, PASS),
        asm.exit,
      ];
      const part = await loader.load("xdp", spilling);
      using chain = await buildChain({
        hook: "xdp",
        name: "spills",
        members: [
          { ...part, mode: "inline", proceedOn: [PASS] },
          { ...(members[1] as Loaded), mode: "inline", proceedOn: [PASS] },
        ],
      });
      assert.deepEqual(chain.placed, [{ mode: "inline" }, { mode: "inline" }]);
      assert.equal(await verdictOf(chain.program, frame([0, TX])), TX);
    });
  });

  it("falls back to stubs with the verifier's words where members pass alone but not together", async (context) => {
    // Half of what may still be a pointer that the member before has left there.
    const leaver = await loader.load("xdp", [asm.store64(10, -8, 10), asm.movImm(0, PASS), asm.exit]);
    const reading = loader.load("xdp", [asm.load32(1, 10, -8), asm.movImm(0, PASS), asm.exit]);
    const reader = await reading.catch((error: unknown) => {
      assert.match(String(error), /invalid read from stack/);
    });
    if (reader === undefined) return context.skip("stack may only be read where it was written");
    using chain = await buildChain({
      hook: "xdp",
      name: "clash",
      members: [leaver, reader].map((part) => ({ ...part, mode: "inline", proceedOn: [PASS] })),
    });
    for (const { mode, why } of chain.placed) {
      assert.equal(mode, "stub");
      assert.match(why ?? "", /^is refused by the verifier when copied into main: .*invalid size of register fill/);
    }
    assert.equal(await verdictOf(chain.program, frame([])), PASS);
  });
});
