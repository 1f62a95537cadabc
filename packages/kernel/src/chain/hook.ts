/** Hooks that run many programs under one generated main program. */
export type ChainHook = "xdp" | "tc";

/** What the generator must know of a hook. Codes are what programs return, as signed 32-bit numbers. */
export interface HookCodes {
  /** Added to a code so that the lowest is 0: its class in the counters. */
  readonly bias: number;
  /** Names of the codes from the lowest on; counters and metrics use them. */
  readonly names: readonly string[];
  /** What the chain returns when every member proceeded. */
  readonly past: number;
  /** What a code that the hook does not know becomes. */
  readonly clamp: number;
  /** What a stub returns when the kernel refuses its tail call: never let a packet through unfiltered. */
  readonly stubFailed: number;
  /** `struct` that programs get a pointer to. */
  readonly context: string;
}

export const chainHooks: Readonly<Record<ChainHook, HookCodes>> = {
  xdp: {
    bias: 0,
    names: ["aborted", "drop", "pass", "tx", "redirect"],
    past: 2,
    clamp: 0,
    stubFailed: 0,
    context: "xdp_md",
  },
  // cls_bpf and TCX themselves take a code that they do not know for TC_ACT_UNSPEC.
  tc: {
    bias: 1,
    names: ["unspec", "ok", "reclassify", "shot", "pipe", "stolen", "queued", "repeat", "redirect", "trap"],
    past: -1,
    clamp: -1,
    stubFailed: 2,
    context: "__sk_buff",
  },
};

/**
 * Columns of the counters: the hook's codes, then other codes that left the chain, then other codes
 * after which the next member ran.
 */
export function columnCount(hook: ChainHook): number {
  return chainHooks[hook].names.length + 2;
}

/** `code` as main compares it: unsigned 32 bits, the lowest known code is 0. */
export function biasCode(hook: ChainHook, code: number): number {
  return (code + chainHooks[hook].bias) >>> 0;
}

/** The codes of `proceedOn`, biased, each once. */
export function proceedCodes(hook: ChainHook, proceedOn: readonly number[]): readonly number[] {
  return [...new Set(proceedOn.map((code) => biasCode(hook, code)))];
}

/**
 * Which of its codes a member counts when it proceeds. One code needs no increment: what is not
 * counted is known by subtraction, so the usual way through costs nothing. Behind the last member
 * every packet leaves the chain, so there all are counted.
 */
export function countedCodes(hook: ChainHook, proceedOn: readonly number[], isLast: boolean): readonly number[] {
  const codes = proceedCodes(hook, proceedOn);
  if (isLast) return codes;
  const past = biasCode(hook, chainHooks[hook].past);
  const implied = codes.includes(past) ? past : codes[0];
  return codes.filter((code) => code !== implied);
}

/**
 * Whether the members need a main program, or one member attached by itself does the same. A lone
 * member that proceeds on another code than the chain's last word would change its verdict.
 */
export function needsMain(hook: ChainHook, members: readonly { readonly proceedOn: readonly number[] }[]): boolean {
  const [only] = members;
  if (members.length !== 1 || only === undefined) return true;
  return only.proceedOn.some((code) => biasCode(hook, code) !== biasCode(hook, chainHooks[hook].past));
}
