/**
 * A chain is replaced 1,000 times under load, each time by another random one: other members, order,
 * number and modes. What must hold for every single packet:
 * drop-all: nothing reaches the stack; pass-all: everything does; and the first and the last member
 * that a packet meets belong to the same generation.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import type { MemberMode } from "@bpfleet/kernel";
import { asm, chainHooks } from "@bpfleet/kernel/chain";
import type { ChainHook, Insn } from "@bpfleet/kernel/chain";
import { BpfMap, queryHook } from "./binding.ts";
import type { BpfProgram } from "./binding.ts";
import { buildChain, createChainCounters, observeChainCounters, waitForGracePeriod } from "./chain.ts";
import type { Chain, ChainPart } from "./chain.ts";
import { count, etherType, frameBytes, onFrames, PartLoader, payload } from "./testing/chain-parts.ts";
import type { Loaded } from "./testing/chain-parts.ts";
import { KernelSandbox, openDescriptors, u32, until } from "./testing/kernel-sandbox.ts";

const SWAPS = 1000;
/** Old generations are let go by so many at a time: one grace period does for all. */
const RETIRE = 20;

type Outcome = "drop-all" | "pass-all";
const drops: Record<ChainHook, number> = { xdp: 1, tc: 2 };

/** Rows of the ledger that the members and the program behind the chain write. */
const FIRST = 0;
const LAST = 1;
const OTHER_GENERATION = 2;
const STACK = 3;

/** A repeatable stream of numbers below `limit`. */
function dice(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

class Ledger implements Disposable {
  readonly map = BpfMap.create({ type: "percpu_array", name: "ledger", keySize: 4, valueSize: 8, maxEntries: 4 });

  read(row: number): bigint {
    const values = this.map.getRaw(u32(row)) ?? Buffer.alloc(0);
    return Array.from({ length: values.length / 8 }, (_, cpu) => values.readBigUInt64LE(cpu * 8)).reduce(
      (sum, each) => sum + each,
      0n,
    );
  }

  [Symbol.dispose](): void {
    this.map.close();
  }
}

const tagAt = payload + 2;

/** Counts, and writes the generation into the packet. */
function firstMember(hook: ChainHook, ledger: Ledger, generation: number): Insn[] {
  const { past } = chainHooks[hook];
  return onFrames(hook, past, [
    ...count(ledger.map.fd, FIRST),
    asm.store32Imm(6, tagAt, generation),
    asm.movImm(0, past),
    asm.exit,
  ]);
}

/** Compares the packet's generation with its own, counts, and decides. */
function lastMember(hook: ChainHook, ledger: Ledger, generation: number, verdict: number): Insn[] {
  const differs = count(ledger.map.fd, OTHER_GENERATION);
  return onFrames(hook, chainHooks[hook].past, [
    asm.load32(8, 6, tagAt),
    asm.jumpIfEqual32(8, generation, differs.length),
    ...differs,
    ...count(ledger.map.fd, LAST),
    asm.movImm(0, verdict),
    asm.exit,
  ]);
}

class Sender implements AsyncDisposable {
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  constructor(program: string, netns: string, ifindex: number) {
    this.#child = spawn(
      "ip",
      ["netns", "exec", netns, program, String(ifindex), String(etherType), String(frameBytes)],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async start(): Promise<void> {
    assert.equal((await this.#lines.next()).value, "sending");
  }

  /** Frames that the kernel took. */
  async stop(): Promise<bigint> {
    this.#child.kill("SIGTERM");
    return BigInt((await this.#lines.next()).value as string);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGTERM");
    await once(this.#child, "exit");
  }
}

interface Attachment extends AsyncDisposable {
  replace(next: BpfProgram): Promise<void>;
}

interface Place {
  readonly ifindex: number;
  readonly path: string;
}

const attachments: Record<"xdp" | "tcx" | "cls_bpf", (first: BpfProgram, at: Place) => Promise<Attachment>> = {
  xdp: async (first, at) => {
    const link = await first.attach({ xdp: at.ifindex, mode: "native" }, { inNetns: at.path });
    return { replace: (next) => link.update(next), [Symbol.asyncDispose]: () => link.close() };
  },
  tcx: async (first, at) => {
    const link = await first.attach({ tcx: at.ifindex, dir: "ingress" }, { inNetns: at.path, order: { first: true } });
    return { replace: (next) => link.update(next), [Symbol.asyncDispose]: () => link.close() };
  },
  cls_bpf: async (first, at) => {
    const place = { ifindex: at.ifindex, direction: "ingress", handle: 1, priority: 10, inNetns: at.path } as const;
    await first.attachClsBpf(place);
    return {
      replace: async (next) => {
        await next.attachClsBpf({ ...place, replace: true });
      },
      [Symbol.asyncDispose]: async () => {},
    };
  },
};

describe("chain under load", () => {
  let sandbox: KernelSandbox;
  let sender: string;
  let hasTcx: boolean;
  before(async () => {
    sandbox = new KernelSandbox();
    sender = join(sandbox.dir, "send-frames");
    execFileSync("clang", [
      "-O2",
      "-Wall",
      new URL("../testdata/send-frames.c", import.meta.url).pathname,
      "-o",
      sender,
    ]);
    hasTcx = await queryHook({ tcx: 1, dir: "ingress" }).then(
      () => true,
      () => false,
    );
  });
  after(() => sandbox[Symbol.asyncDispose]());

  /** One generation: a first and a last member of its own, others of the pool between them, all in random modes. */
  async function makeChain(
    hook: ChainHook,
    ledger: Ledger,
    pool: readonly Loaded[],
    outcome: Outcome,
    generation: number,
    roll: (limit: number) => number,
  ): Promise<Chain> {
    const { past } = chainHooks[hook];
    using loader = new PartLoader();
    const [first, last] = await Promise.all([
      loader.load(hook, firstMember(hook, ledger, generation)),
      loader.load(hook, lastMember(hook, ledger, generation, outcome === "drop-all" ? drops[hook] : past)),
    ]);
    const style = roll(4);
    const mode = (): MemberMode =>
      style === 0 ? "inline" : style === 1 ? "stub" : ((["inline", "stub"] as const)[roll(2)] as MemberMode);
    const between = Array.from({ length: roll(7) }, () => pool[roll(pool.length)] as Loaded);
    const members = [first, ...between, last].map((part): ChainPart => ({ ...part, mode: mode(), proceedOn: [past] }));
    const chain = await buildChain({ hook, name: `b${generation.toString(16).padStart(14, "0")}`, members });
    assert.deepEqual(
      chain.placed,
      members.map((member) => ({ mode: member.mode })),
    );
    return chain;
  }

  async function swapUnderLoad(kind: keyof typeof attachments, outcome: Outcome): Promise<void> {
    const hook: ChainHook = kind === "xdp" ? "xdp" : "tc";
    const { past } = chainHooks[hook];
    const { near, far } = sandbox.pair();
    const roll = dice(outcome === "drop-all" ? 1 : 2);
    await using cleanup = new AsyncDisposableStack();
    const ledger = cleanup.use(new Ledger());
    const loader = cleanup.use(new PartLoader());
    // Behind the chain: counts what is on its way to the stack.
    const behind = await loader.load(
      "tc",
      onFrames("tc", -1, [...count(ledger.map.fd, STACK), asm.movImm(0, -1), asm.exit]),
    );
    if (kind === "tcx") {
      const order = { last: true } as const;
      cleanup.use(await behind.program.attach({ tcx: far.ifindex, dir: "ingress" }, { inNetns: far.path, order }));
    } else {
      const place = { ifindex: far.ifindex, direction: "ingress", handle: 1, priority: 20, inNetns: far.path } as const;
      await behind.program.attachClsBpf(place);
    }
    const pool = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        loader.load(hook, onFrames(hook, past, [asm.movImm(8, index), asm.movImm(0, past), asm.exit])),
      ),
    );

    let retired: Chain[] = [];
    const retire = async (): Promise<void> => {
      await waitForGracePeriod();
      for (const chain of retired) chain[Symbol.dispose]();
      retired = [];
    };
    let current = await makeChain(hook, ledger, pool, outcome, 1, roll);
    cleanup.defer(async () => {
      for (const chain of [...retired, current]) chain[Symbol.dispose]();
    });
    const attachment = cleanup.use(await attachments[kind](current.program, far));
    const traffic = cleanup.use(new Sender(sender, near.name, near.ifindex));
    await traffic.start();
    let next = await makeChain(hook, ledger, pool, outcome, 2, roll);
    for (let generation = 3; generation < SWAPS + 3; generation++) {
      // The one after is built while the kernel swaps.
      const following = makeChain(hook, ledger, pool, outcome, generation, roll);
      await attachment.replace(next.program);
      retired.push(current);
      [current, next] = [next, await following];
      if (retired.length >= RETIRE) await retire();
    }
    retired.push(next);
    const sent = await traffic.stop();
    await until("the last frame has met the chain", () => ledger.read(FIRST) >= sent);

    const [first, last, other, stack] = [FIRST, LAST, OTHER_GENERATION, STACK].map((row) => ledger.read(row)) as [
      bigint,
      bigint,
      bigint,
      bigint,
    ];
    assert.ok(sent > 100_000n, `${sent} frames are a load`);
    assert.equal(first, sent, "frames that met the chain");
    assert.equal(other, 0n, "frames that saw two generations");
    assert.equal(last, first, "frames that met the first member and not the last");
    assert.equal(stack, outcome === "drop-all" ? 0n : first, "frames that reached the stack");
  }

  it("counts exactly the frames that were sent, for each member and verdict", async () => {
    const { near, far } = sandbox.pair();
    await using cleanup = new AsyncDisposableStack();
    const loader = cleanup.use(new PartLoader());
    const [ours, turns, drop] = await Promise.all([
      // What the stack sends by itself leaves here.
      loader.load("xdp", onFrames("xdp", 1, [asm.movImm(0, 2), asm.exit])),
      // PASS and TX by turns: two codes to proceed on, of which one is counted.
      loader.load("xdp", [asm.callHelper(7), asm.andImm(0, 1), asm.addImm(0, 2), asm.exit]),
      loader.load("xdp", [asm.movImm(0, 1), asm.exit]),
    ]);
    const members: ChainPart[] = [
      { ...ours, mode: "inline", proceedOn: [2] },
      { ...turns, mode: "stub", proceedOn: [2, 3] },
      { ...drop, mode: "inline", proceedOn: [2] },
    ];
    const counters = createChainCounters("xdp", members.length, "counters");
    cleanup.use(counters);
    const chain = cleanup.use(await buildChain({ hook: "xdp", name: "counted", members, counters }));
    const attachment = cleanup.use(await attachments.xdp(chain.program, far));
    const traffic = cleanup.use(new Sender(sender, near.name, near.ifindex));
    await traffic.start();
    await new Promise((next) => setTimeout(next, 500));
    const sent = await traffic.stop();
    await waitForGracePeriod();
    // Off the interface nothing is counted any more.
    await attachment[Symbol.asyncDispose]();
    const [first, second, third] = await observeChainCounters(counters, "xdp", members);
    assert.ok(sent > 1000n);
    assert.equal(first?.proceeded, sent);
    assert.equal(first.exits, first.verdicts["drop"]);
    assert.equal(second?.seen, sent);
    assert.equal(second.proceeded, sent);
    const { pass = 0n, tx = 0n } = second.verdicts;
    assert.ok(pass > 0n && tx > 0n);
    assert.equal(pass + tx, sent);
    assert.deepEqual([third?.seen, third?.exits, third?.verdicts["drop"]], [sent, sent, sent]);
  });

  for (const kind of ["xdp", "tcx", "cls_bpf"] as const) {
    for (const outcome of ["drop-all", "pass-all"] as const) {
      it(`${kind} ${outcome}: ${SWAPS} swaps, and every packet sees one whole generation`, async (context) => {
        if (kind === "tcx" && !hasTcx) return context.skip("no TCX");
        const descriptors = openDescriptors();
        await swapUnderLoad(kind, outcome);
        assert.equal(openDescriptors(), descriptors);
      });
    }
  }
});
