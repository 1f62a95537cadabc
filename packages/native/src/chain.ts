import { KernelError } from "@bpfleet/base";
import type { MemberMode } from "@bpfleet/kernel";
import {
  asm,
  chainCounters,
  generateChain,
  planChain,
  readChainCounters,
  scanCode,
  stackOf,
} from "@bpfleet/kernel/chain";
import type { ChainBody, ChainHook, ChainOffers, MemberCounts, MemberFacts, PlacedMember } from "@bpfleet/kernel/chain";
import { BpfError, BpfMap, BpfProgram, Btf, tellingLine } from "./binding.ts";
import type { Instructions, ProgramSpec } from "./binding.ts";

/** What `BpfObject.instructions()` gives, as far as a chain reads it. */
export type ChainInstructions = Pick<Instructions, "insns" | "license" | "flags"> &
  Partial<Pick<Instructions, "expectedAttachType" | "btfFd" | "funcInfo" | "funcInfoRecSize" | "needsModuleBtf">>;

export interface ChainPart {
  /** Loaded by itself: what a stub tail-calls. Stays the caller's to close. */
  readonly program: BpfProgram;
  /**
   * The same program as libbpf relocated it; without it the member can only be a stub. The descriptors
   * in it must stay open until the chain is built.
   */
  readonly instructions?: ChainInstructions | undefined;
  /** Of a program without `instructions`, as it was loaded; `xdp` for XDP when left out. */
  readonly expectedAttachType?: string | undefined;
  readonly mode: MemberMode;
  /** Verdict codes after which the next member runs. */
  readonly proceedOn: readonly number[];
}

export interface ChainRequest {
  readonly hook: ChainHook;
  /** The kernel's name of the main program, at most 15 characters: `b` and the hook's generation. */
  readonly name: string;
  /** In running order; none gives a main that lets everything through. */
  readonly members: readonly ChainPart[];
  /** Made by `createChainCounters` for this generation; without it nothing is counted. */
  readonly counters?: BpfMap | undefined;
  /** What the self-test found; both modes when left out. */
  readonly offers?: ChainOffers | undefined;
}

/** A loaded main program, attached to nothing. What it holds is the caller's: `using` closes it. */
export interface Chain extends Disposable {
  readonly program: BpfProgram;
  /**
   * Only with stubs. Pin it for as long as `program` may run: the kernel empties it when its last
   * descriptor or pin goes, even while `program` is attached, and every stub then gives ABORTED or SHOT.
   * That also holds for the chain that has just been replaced: wait for `waitForGracePeriod` first.
   */
  readonly progArray: BpfMap | undefined;
  readonly placed: readonly PlacedMember[];
  /** Which members take packets in fragments; main takes them only when all do. */
  readonly hasFrags: readonly boolean[];
}

const everything: ChainOffers = { inline: { has: true }, stub: { has: true } };
const programTypes: Readonly<Record<ChainHook, string>> = { xdp: "xdp", tc: "sched_cls" };
const XDP_HAS_FRAGS = 1 << 5;
const XDP_DEV_BOUND_ONLY = 1 << 6;

/**
 * Loads one main program that runs the members in order. Where the verifier refuses them copied into
 * one program, they become stubs and `placed` says why. Throws KernelError when a limit forbids the
 * chain, BpfError when the kernel refuses it.
 */
export async function buildChain(request: ChainRequest): Promise<Chain> {
  const inlineFacts = await Promise.all(request.members.map(readFacts));
  const build = (wanted: readonly MemberMode[]): Promise<Chain> => {
    const members = inlineFacts.map((facts, index) => ({ facts, wants: wanted[index] ?? "stub" }));
    const plan = planChain(members, request.offers ?? everything);
    if (!plan.ok) {
      const code = plan.limit === "tail-calls" ? "too-big" : "not-supported";
      throw new KernelError(`build chain ${request.name}: ${plan.message}`, {
        code,
        call: "BPF_PROG_LOAD",
        retry: "when-changed",
      });
    }
    return loadChain(request, inlineFacts, plan.placed, plan.hasFrags);
  };
  const wanted = request.members.map(({ mode }) => mode);
  try {
    return await build(wanted);
  } catch (error) {
    const hasInline = wanted.includes("inline");
    if (!(error instanceof BpfError) || !hasInline || error.code === "no-space") throw error;
    const why = `is refused by the verifier when copied into main: ${tellingLine(error.verifierLog) || error.errnoName}`;
    const chain = await build(wanted.map(() => "stub" as const)).catch(() => {
      throw error;
    });
    const placed = chain.placed.map((each, index) =>
      wanted[index] === "inline" ? { ...each, why: each.why ?? why } : each,
    );
    return { ...chain, placed };
  }
}

async function loadChain(
  request: ChainRequest,
  facts: readonly MemberFacts[],
  placed: readonly PlacedMember[],
  hasFrags: boolean,
): Promise<Chain> {
  const { hook, name, members, counters } = request;
  const kind: Kind = { hook, hasFrags, attachType: commonAttachType(hook, members) };
  using cleanup = new DisposableStack();
  let progArray: BpfMap | undefined;
  if (placed.some(({ mode }) => mode === "stub")) {
    progArray = cleanup.use(
      BpfMap.create({ type: "prog_array", name, keySize: 4, valueSize: 4, maxEntries: members.length }),
    );
    for (const [slot, member] of members.entries()) {
      if (placed[slot]?.mode === "stub") await fillSlot(request, progArray, slot, member, kind);
    }
  }
  const bodies = members.map(({ instructions, proceedOn }, index): ChainBody => {
    if (placed[index]?.mode === "stub" || instructions === undefined) return { mode: "stub", slot: index, proceedOn };
    return {
      mode: "inline",
      insns: asm.decodeInsns(instructions.insns),
      stack: stackOf(facts[index] as MemberFacts),
      proceedOn,
    };
  });
  const code = generateChain({ hook, name, members: bodies, countersFd: counters?.fd, progArrayFd: progArray?.fd });
  using btf = Btf.load(code.btf);
  const { insns, funcInfo } = code;
  const flags = hasFrags ? XDP_HAS_FRAGS : 0;
  const program = cleanup.use(
    await BpfProgram.loadRaw({ ...typeOf(kind), name, license: "GPL", insns, flags, btf, funcInfo }),
  );
  const held = cleanup.move();
  return {
    program,
    progArray,
    placed,
    hasFrags: facts.map((each) => each.hasFrags),
    [Symbol.dispose]: () => held.dispose(),
  };
}

/** What main and the programs behind its stubs have to share, or the kernel refuses the slot with EINVAL. */
interface Kind {
  readonly hook: ChainHook;
  readonly hasFrags: boolean;
  readonly attachType: string | undefined;
}

function typeOf({ hook, attachType }: Kind): Pick<ProgramSpec, "type" | "expectedAttachType"> {
  return { type: programTypes[hook], ...(attachType === undefined ? {} : { expectedAttachType: attachType }) };
}

function attachTypeOf(hook: ChainHook, { instructions, expectedAttachType }: ChainPart): string | undefined {
  return instructions === undefined
    ? (expectedAttachType ?? (hook === "xdp" ? "xdp" : undefined))
    : instructions.expectedAttachType;
}

/** That of a member that cannot be loaded anew, else of the first. */
function commonAttachType(hook: ChainHook, members: readonly ChainPart[]): string | undefined {
  const leading = members.find(({ instructions }) => instructions === undefined) ?? members[0];
  return leading === undefined ? (hook === "xdp" ? "xdp" : undefined) : attachTypeOf(hook, leading);
}

/** Slots are written once, before main runs: rewriting one in place would let a packet meet two generations. */
async function fillSlot(
  request: ChainRequest,
  progArray: BpfMap,
  slot: number,
  part: ChainPart,
  kind: Kind,
): Promise<void> {
  const { program, instructions } = part;
  const flags = instructions?.flags ?? 0;
  const fits = attachTypeOf(kind.hook, part) === kind.attachType && (kind.hasFrags || (flags & XDP_HAS_FRAGS) === 0);
  try {
    using copy = fits || instructions === undefined ? undefined : await copyFor(kind, program.info.name, instructions);
    const key = new Uint32Array([slot]);
    const value = new Int32Array([(copy ?? program).fd]);
    progArray.setRaw(new Uint8Array(key.buffer), new Uint8Array(value.buffer));
  } catch (error) {
    if (!(error instanceof BpfError) || error.code !== "invalid") throw error;
    const text = `build chain ${request.name}: ${program.info.name} does not fit beside the other members (${error.errnoName})`;
    const fields = {
      code: "not-supported",
      call: "BPF_MAP_UPDATE_ELEM",
      errno: error.errnoName,
      retry: "when-changed",
      cause: error,
    } as const;
    throw new KernelError(
      `${text}; all must be built for the same hook, with or without support for fragments`,
      fields,
    );
  }
}

/** The same program, loaded so that it fits behind main's stubs. */
function copyFor(kind: Kind, name: string, instructions: ChainInstructions): Promise<BpfProgram> {
  const { license, insns, btfFd = -1, funcInfo, funcInfoRecSize } = instructions;
  const debug =
    btfFd < 0 || funcInfo === undefined
      ? {}
      : { btfFd, funcInfo, ...(funcInfoRecSize === undefined ? {} : { funcInfoRecSize }) };
  return BpfProgram.loadRaw({
    ...typeOf(kind),
    name,
    license,
    insns,
    flags: instructions.flags & ~XDP_HAS_FRAGS,
    ...debug,
  });
}

async function readFacts({ program, instructions, mode }: ChainPart): Promise<MemberFacts> {
  const info = program.info;
  const code = instructions && scanCode(asm.decodeInsns(instructions.insns));
  const mayInline = mode === "inline" && instructions !== undefined && code?.obstacle === undefined;
  const { stack, verifiedInsns } = mayInline ? await measure(program, instructions) : { stack: 0, verifiedInsns: 0 };
  const flags = instructions?.flags ?? 0;
  return {
    name: info.name,
    code,
    stack,
    verifiedInsns: Math.max(info.verifiedInstructions, verifiedInsns),
    mapIds: info.mapIds,
    license: instructions?.license ?? "",
    hasFrags: (flags & XDP_HAS_FRAGS) !== 0,
    isDeviceBound: (flags & XDP_DEV_BOUND_ONLY) !== 0 || info.ifindex !== 0,
  };
}

interface Measured {
  readonly stack: number;
  readonly verifiedInsns: number;
}

/** By program id: the kernel gives each number once before it starts over. */
const measured = new Map<number, Measured>();
const MEASURED_MAX = 4096;
const LOG_STATISTICS = 4;

/** What the verifier says of a program alone, by loading it once more; only its log has the stack depth. */
async function measure(program: BpfProgram, instructions: ChainInstructions): Promise<Measured> {
  const { id, type, name } = program.info;
  const known = measured.get(id);
  if (known !== undefined) return known;
  const { license, insns, flags, expectedAttachType } = instructions;
  using again = await BpfProgram.loadRaw({
    type,
    name,
    license,
    insns,
    flags,
    logLevel: LOG_STATISTICS,
    ...(expectedAttachType === undefined ? {} : { expectedAttachType }),
  });
  const depth = /^stack depth (\d+)/m.exec(again.loadLog)?.[1];
  const verified = /^processed (\d+) insns/m.exec(again.loadLog)?.[1];
  // A kernel that does not tell leaves no room beside the member: the plan makes it a stub.
  const result = { stack: depth === undefined ? 512 : Number(depth), verifiedInsns: Number(verified ?? 0) };
  if (measured.size >= MEASURED_MAX) measured.clear();
  measured.set(id, result);
  return result;
}

/** Verdict counters for one generation of a chain; close or pin it. */
export function createChainCounters(hook: ChainHook, memberCount: number, name: string): BpfMap {
  return BpfMap.create({ ...chainCounters(hook, memberCount), name: name.slice(0, 15) });
}

/** What each member did so far. */
export async function observeChainCounters(
  counters: BpfMap,
  hook: ChainHook,
  members: readonly { readonly proceedOn: readonly number[] }[],
): Promise<MemberCounts[]> {
  const { values } = await counters.readBatch();
  return readChainCounters(hook, members, values);
}

/**
 * Resolves when every packet that was inside a program at the time of the call has left it. After a
 * main was replaced: from then on nothing runs the old one, and its prog array may go.
 */
export async function waitForGracePeriod(): Promise<void> {
  // The kernel promises it for maps of maps: an update returns after all readers of the old one.
  const array = { keySize: 4, valueSize: 4, maxEntries: 1 };
  using inner = BpfMap.create({ type: "array", name: "grace", ...array });
  using outer = BpfMap.create({ type: "array_of_maps", name: "grace", ...array, innerMap: inner });
  await outer.updateBatch(new Uint8Array(4), new Uint8Array(new Int32Array([inner.fd]).buffer), 1);
}
