import type { MemberMode } from "@bpfleet/kernel";

/** Hooks that run many programs under one generated main program. */
export type ChainHook = "xdp" | "tc";

/** A program as libbpf relocated it: what `BpfObject.prepare()` and `instructions()` give. */
export interface ProgramInstructions {
  readonly insns: Uint8Array;
  /** Map descriptors that the instructions hold; they must stay open until the chain is built. */
  readonly mapFds: readonly number[];
  readonly license: string;
  readonly expectedAttachType: number;
  /** `BPF_F_*` flags of program load. */
  readonly flags: number;
}

export interface ChainPart<Program> {
  /** Loaded by itself. What a stub tail-calls; stays the caller's to close. */
  readonly program: Program;
  /** Needed for `inline`; without it the member becomes a stub. */
  readonly instructions?: ProgramInstructions | undefined;
  readonly mode: MemberMode;
  /** Verdict codes after which the next member runs. */
  readonly proceedOn: readonly number[];
}

export interface ChainRequest<Program, Map> {
  readonly hook: ChainHook;
  /** The kernel's name of the main program, at most 15 characters: `b` and the hook's generation. */
  readonly name: string;
  /** In running order; none gives a main that lets everything through. */
  readonly members: readonly ChainPart<Program>[];
  /** Made by `createChainCounters` for this generation; without it nothing is counted. */
  readonly counters?: Map | undefined;
}

export interface ChainMade<Program, Map> {
  readonly program: Program;
  /** Only with stubs. Pin it as long as `program` is attached: the kernel empties it with its last descriptor or pin. */
  readonly progArray?: Map | undefined;
  readonly placed: readonly PlacedMember[];
}

export interface PlacedMember {
  readonly mode: MemberMode;
  /** Why a member that asked for `inline` is a stub. */
  readonly why?: string | undefined;
}

/** Loads the main program of a chain; attaches nothing. The caller owns what it returns. */
export type BuildChain = <Program, Map>(request: ChainRequest<Program, Map>) => Promise<ChainMade<Program, Map>>;
