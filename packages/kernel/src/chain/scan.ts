import { HELPER_TAIL_CALL, isCall, isWide, PSEUDO_CALL } from "./insn.ts";
import type { Insn } from "./insn.ts";

/** What a program's instructions tell of it, as far as copying them into main depends on it. */
export interface CodeFacts {
  /** Instruction slots, own subprograms included. */
  readonly length: number;
  /** Bytes below the frame pointer that loads and stores name directly. */
  readonly directStack: number;
  readonly tailCalls: number;
  /** What stands against copying the code, in words that finish "the program …"; `undefined`: nothing. */
  readonly obstacle: string | undefined;
}

/** Programs whose jumps to their end must fit 16 bits. */
export const MAX_INLINE_LENGTH = 32_767;

const PSEUDO_BTF_ID = 3;
const KFUNC_CALL = 2;
const MAY_GOTO = 0xe5;
const FRAME_POINTER = 10;

export function scanCode(insns: readonly Insn[]): CodeFacts {
  let directStack = 0;
  let tailCalls = 0;
  let obstacle: string | undefined;
  for (let at = 0; at < insns.length; at++) {
    const insn = insns[at] as Insn;
    directStack = Math.max(directStack, -directStackOffset(insn));
    if (isCall(insn) && insn.src === 0 && insn.imm === HELPER_TAIL_CALL) tailCalls++;
    obstacle ??= obstacleOf(insn);
    if (isWide(insn)) at++;
  }
  if (insns.length > MAX_INLINE_LENGTH)
    obstacle ??= `has ${insns.length} instructions, more than the ${MAX_INLINE_LENGTH} that a jump spans`;
  return { length: insns.length, directStack, tailCalls, obstacle };
}

/** What an instruction would do to the chain that it does not do to its program alone. */
function obstacleOf(insn: Insn): string | undefined {
  if (isWide(insn)) {
    // Map descriptors, map values and kernel variables move with the instruction; the rest refers
    // to functions of the program, or to a list of descriptors given beside it.
    return insn.src <= PSEUDO_BTF_ID ? undefined : insn.src === 4 ? "has callbacks" : "names its maps by index";
  }
  if (isCall(insn)) {
    if (insn.src === PSEUDO_CALL) return "has subprograms";
    // bpf_throw would end main; bpf_obj_new and others take type ids of the program's own BTF.
    if (insn.src === KFUNC_CALL) return "calls kernel functions (kfuncs)";
    if (insn.src === 0 && insn.imm === HELPER_TAIL_CALL) return "makes tail calls, which would end the chain";
    if (insn.src !== 0) return "makes calls of an unknown kind";
  }
  if (insn.code === MAY_GOTO) return "has loops bounded at run time, whose budget main would share";
  // LD_ABS and LD_IND leave the program by themselves when the packet is too short.
  if ((insn.code & 0x07) === 0) return "has packet loads (LD_ABS, LD_IND) that can end the chain";
  return undefined;
}

/** The offset from the frame pointer at which `insn` reads or writes, 0 if it does neither. */
function directStackOffset(insn: Insn): number {
  const kind = insn.code & 0x07;
  const isLoad = kind === 1 && insn.src === FRAME_POINTER;
  const isStore = (kind === 2 || kind === 3) && insn.dst === FRAME_POINTER;
  return isLoad || isStore ? Math.min(insn.off, 0) : 0;
}
