import { errorText } from "@bpfleet/base";
import type { MemberMode, Offer } from "@bpfleet/kernel";
import { asm, chainHooks } from "@bpfleet/kernel/chain";
import type { ChainHook, ChainOffers } from "@bpfleet/kernel/chain";
import { BpfMap, BpfProgram } from "./binding.ts";
import { buildChain, createChainCounters, observeChainCounters } from "./chain.ts";
import type { ChainPart } from "./chain.ts";

/**
 * Proves both modes of the chain on the running kernel, for XDP and tc, with packets: that every
 * member runs, in order, that proceed-on and the clamp hold, and that the counters are exact. Some
 * kernels accept a chain and silently leave members out, so nothing less will do. Attaches nothing.
 */
export async function selfTestChain(): Promise<ChainOffers> {
  const [xdp, tc] = await Promise.all([proveHook("xdp"), proveHook("tc")]);
  return { inline: both(xdp.inline, tc.inline), stub: both(xdp.stub, tc.stub) };
}

function both(one: Offer, other: Offer): Offer {
  return one.has ? other : one;
}

/** The bytes of a packet at which the first two members find their verdicts, who must have run, the chain's verdict. */
interface Expectation {
  readonly verdicts: readonly [number, number];
  /** One hexadecimal digit a member. */
  readonly ran: number;
  readonly chain: number;
}

interface Proof {
  readonly hook: ChainHook;
  readonly trace: BpfMap;
  readonly parts: readonly Omit<ChainPart, "mode">[];
  readonly expectations: readonly Expectation[];
}

async function proveHook(hook: ChainHook): Promise<ChainOffers> {
  const { past, clamp, stubFailed } = chainHooks[hook];
  // Not what a stub returns by itself: a chain cut short would look right.
  const last = stubFailed + 1;
  using open = new DisposableStack();
  try {
    const trace = open.use(
      BpfMap.create({ type: "array", name: "chain_trace", keySize: 4, valueSize: 8, maxEntries: 1 }),
    );
    const bodies = [
      { body: verdictAt(hook, trace.fd, 1, FIRST_BYTE), proceedOn: [past] },
      { body: verdictAt(hook, trace.fd, 2, FIRST_BYTE + 1), proceedOn: [past, last] },
      { body: [...record(trace.fd, 3), asm.movImm(0, last), asm.exit], proceedOn: [past] },
    ];
    const parts = await Promise.all(
      bodies.map(async ({ body, proceedOn }) => {
        const insns = Buffer.from(asm.encodeInsns(body));
        const attach = hook === "xdp" ? { expectedAttachType: "xdp" } : {};
        const type = hook === "xdp" ? "xdp" : "sched_cls";
        const spec = { type, name: "chain_proof", license: "GPL", insns, ...attach };
        const program = open.use(await BpfProgram.loadRaw(spec));
        return { program, instructions: { insns, license: "GPL", flags: 0, ...attach }, proceedOn };
      }),
    );
    const expectations: readonly Expectation[] = [
      { verdicts: [past, past], ran: 0x123, chain: last },
      { verdicts: [past, last], ran: 0x123, chain: last },
      { verdicts: [last, past], ran: 0x1, chain: last },
      { verdicts: [past, 4], ran: 0x12, chain: 4 },
      { verdicts: [77, past], ran: 0x1, chain: clamp },
    ];
    const proof = { hook, trace, parts, expectations };
    // One after the other: they share the trace.
    const inline = await prove(proof, "inline");
    return { inline, stub: await prove(proof, "stub") };
  } catch (error) {
    const why = errorText(error);
    return { inline: { has: false, why }, stub: { has: false, why } };
  }
}

async function prove(proof: Proof, mode: MemberMode): Promise<Offer> {
  try {
    const why = await findFault(proof, mode);
    return why === undefined ? { has: true } : { has: false, why: `on ${proof.hook}, ${why}` };
  } catch (error) {
    return { has: false, why: errorText(error) };
  }
}

async function findFault({ hook, trace, parts, expectations }: Proof, mode: MemberMode): Promise<string | undefined> {
  const members = parts.map((part) => ({ ...part, mode }));
  using counters = createChainCounters(hook, members.length, "chain_proof");
  using chain = await buildChain({ hook, name: "chain_proof", members, counters });
  const moved = chain.placed.find((each) => each.mode !== mode);
  if (moved !== undefined) return `a member ${moved.why}`;

  for (const { verdicts, ran, chain: expected } of expectations) {
    trace.setRaw(new Uint8Array(4), new Uint8Array(8));
    const data = new Uint8Array(64);
    data.set(
      verdicts.map((verdict) => verdict & 0xff),
      FIRST_BYTE,
    );
    const { retval } = await chain.program.testRun({ data });
    const seen = Number(trace.getRaw(new Uint8Array(4))?.readBigUInt64LE() ?? 0n);
    if (seen !== ran) return `members ${ran.toString(16)} should have run, ${seen.toString(16)} did`;
    if ((retval | 0) !== expected) return `the verdict should have been ${expected}, it was ${retval | 0}`;
  }
  const counts = await observeChainCounters(counters, hook, members);
  const expected = [
    [5n, 3n],
    [3n, 2n],
    [2n, 0n],
  ];
  const wrong = counts.findIndex(
    ({ seen, proceeded }, index) => seen !== expected[index]?.[0] || proceeded !== expected[index]?.[1],
  );
  return wrong < 0 ? undefined : `the counters of member ${wrong + 1} are not those of the packets sent`;
}

const FIRST_BYTE = 14;

/** A member that returns the packet's byte at `offset`, read as a signed number. */
function verdictAt(hook: ChainHook, traceFd: number, digit: number, offset: number): asm.Insn[] {
  const [data, end] = hook === "xdp" ? [0, 4] : [76, 80];
  return [
    asm.load32(6, 1, data),
    asm.load32(7, 1, end),
    ...record(traceFd, digit),
    asm.mov(2, 6),
    asm.addImm(2, offset + 1),
    asm.movImm(0, 0),
    asm.jumpIfAboveReg(2, 7, 3),
    asm.load8(0, 6, offset),
    asm.shiftLeftImm(0, 56),
    asm.shiftRightSignedImm(0, 56),
    asm.exit,
  ];
}

/** Appends a hexadecimal digit to the trace. */
function record(traceFd: number, digit: number): asm.Insn[] {
  return [
    ...asm.loadMapValue(2, traceFd, 0),
    asm.load64(3, 2, 0),
    asm.shiftLeftImm(3, 4),
    asm.addImm(3, digit),
    asm.store64(2, 0, 3),
  ];
}
