import { encodeFuncInfo, synthesiseBtf } from "./btf.ts";
import { biasCode, chainHooks, columnCount, countedCodes, proceedCodes } from "./hook.ts";
import type { ChainHook, HookCodes } from "./hook.ts";
import {
  add,
  add32Imm,
  addImm,
  callFunction,
  callHelper,
  encodeInsns,
  exit,
  HELPER_MAP_LOOKUP,
  HELPER_TAIL_CALL,
  isExit,
  isWide,
  jump,
  jumpIfAbove,
  jumpIfEqual,
  jumpIfEqual32,
  load64,
  loadMap,
  mov,
  mov32,
  movImm,
  shiftLeftImm,
  store32Imm,
  store64,
  sub,
} from "./insn.ts";
import type { Insn } from "./insn.ts";

/** How one member runs in main. */
export type ChainBody =
  | {
      readonly mode: "inline";
      readonly insns: readonly Insn[];
      /** Bytes of stack that the instructions may touch. */
      readonly stack: number;
      readonly proceedOn: readonly number[];
    }
  | { readonly mode: "stub"; readonly slot: number; readonly proceedOn: readonly number[] };

export interface ChainSource {
  readonly hook: ChainHook;
  /** Of the main program and its function. */
  readonly name: string;
  readonly members: readonly ChainBody[];
  /** Descriptor of the map that `chainCounters` defines. */
  readonly countersFd?: number | undefined;
  /** Descriptor of the prog array; needed with stubs. */
  readonly progArrayFd?: number | undefined;
}

/** What BPF_PROG_LOAD and BPF_BTF_LOAD take. */
export interface ChainCode {
  readonly insns: Uint8Array;
  readonly funcInfo: Uint8Array;
  readonly btf: Uint8Array;
}

/** Stack that main takes below its deepest inlined member. */
export function mainSlots(hasCounters: boolean): number {
  return hasCounters ? 16 : 8;
}

/**
 * One program that runs the members in order. Members clobber every register, so between them only
 * the context lives, in a stack slot that none of them can reach. Each member is followed by its own
 * way out: a jump to a common one would have to span all members behind it.
 */
export function generateChain(source: ChainSource): ChainCode {
  const members = reachable(source.members);
  const deepest = Math.max(0, ...members.map((member) => (member.mode === "inline" ? member.stack : 0)));
  const contextSlot = -(roundUp8(deepest) + 8);
  const frame: Frame = { contextSlot, keySlot: contextSlot - 8, ...source, codes: chainHooks[source.hook] };

  const main: Insn[] = [store64(10, contextSlot, 1)];
  const calls: { readonly at: number; readonly slot: number }[] = [];
  for (const [row, member] of members.entries()) {
    if (row > 0) main.push(load64(1, 10, contextSlot));
    if (member.mode === "stub") {
      calls.push({ at: main.length, slot: member.slot });
      main.push(callFunction(0));
    } else {
      main.push(...withoutExits(member.insns));
    }
    main.push(...afterMember(frame, row, member.proceedOn, row === members.length - 1));
  }
  if (members.at(-1)?.proceedOn.length !== 0) main.push(movImm(0, frame.codes.past), exit);

  const functions = [{ name: source.name, start: 0 }];
  const stubs: Insn[] = [];
  for (const { at, slot } of calls) {
    const start = main.length + stubs.length;
    main[at] = callFunction(start - (at + 1));
    functions.push({ name: `stub_${slot}`, start });
    stubs.push(...stub(frame, slot));
  }

  const btf = synthesiseBtf(
    frame.codes.context,
    functions.map(({ name }) => name),
  );
  return {
    insns: encodeInsns([...main, ...stubs]),
    funcInfo: encodeFuncInfo(
      functions.map(({ start }, index) => ({ start, typeId: btf.functionIds[index] as number })),
    ),
    btf: btf.bytes,
  };
}

interface Frame extends ChainSource {
  readonly codes: HookCodes;
  readonly contextSlot: number;
  readonly keySlot: number;
}

/** The verifier refuses code that no jump leads to, so nothing follows a member that never proceeds. */
function reachable(members: readonly ChainBody[]): readonly ChainBody[] {
  const last = members.findIndex((member) => member.proceedOn.length === 0);
  return last < 0 ? members : members.slice(0, last + 1);
}

/** The member's code, each exit a jump to what follows it. */
function withoutExits(insns: readonly Insn[]): Insn[] {
  const body: Insn[] = [];
  for (let at = 0; at < insns.length; at++) {
    const insn = insns[at] as Insn;
    body.push(isExit(insn) ? jump(insns.length - 1 - at) : insn);
    if (isWide(insn)) body.push(insns[++at] as Insn);
  }
  return body;
}

/**
 * Goes on with the next member, which starts right behind, when the verdict in R0 is among
 * `proceedOn`; else counts it and leaves. A code that is counted before the chain goes on passes
 * through the same increment with R8 = 0.
 */
function afterMember(frame: Frame, row: number, proceedOn: readonly number[], isLast: boolean): Insn[] {
  const { hook, codes, countersFd } = frame;
  const counted = countersFd === undefined ? [] : countedCodes(hook, proceedOn, isLast);
  const free = proceedCodes(hook, proceedOn).filter((code) => !counted.includes(code));

  const leave = codes.bias === 0 ? [mov(0, 7), exit] : [mov(0, 7), add32Imm(0, -codes.bias), exit];
  const tail = [
    ...clampVerdict(frame, counted.length > 0),
    ...(countersFd === undefined ? [] : increment(frame, row, countersFd)),
    ...(counted.length > 0 ? [jumpIfEqual(8, 0, leave.length)] : []),
    ...leave,
  ];
  const sorted = counted.map((code, index) => jumpIfEqual32(0, code, counted.length - index));
  const count = counted.length > 0 ? [movImm(8, 0), ...sorted, movImm(8, 1)] : [];
  return [
    codes.bias === 0 ? mov32(0, 0) : add32Imm(0, codes.bias),
    ...free.map((code, index) => jumpIfEqual32(0, code, free.length - 1 - index + count.length + tail.length)),
    ...count,
    ...tail,
  ];
}

/** R6 = the column in which the verdict is counted, R7 = the verdict with which the chain is left, biased. */
function clampVerdict({ hook, codes }: Frame, mayProceed: boolean): Insn[] {
  const unknown = codes.names.length;
  const clamped = [
    ...(mayProceed ? [movImm(6, unknown + 1), sub(6, 8)] : [movImm(6, unknown)]),
    movImm(7, biasCode(hook, codes.clamp)),
  ];
  return [jumpIfAbove(0, unknown - 1, 3), mov(6, 0), mov(7, 0), jump(clamped.length), ...clamped];
}

/** Adds one to column R6 of `row` in the counters. */
function increment(frame: Frame, row: number, countersFd: number): Insn[] {
  const add1 = [shiftLeftImm(6, 3), add(0, 6), load64(1, 0, 0), addImm(1, 1), store64(0, 0, 1)];
  return [
    store32Imm(10, frame.keySlot, row),
    mov(2, 10),
    addImm(2, frame.keySlot),
    ...loadMap(1, countersFd),
    callHelper(HELPER_MAP_LOOKUP),
    jumpIfEqual(0, 0, add1.length),
    ...add1,
  ];
}

/** A function of its own whose tail call returns to main; past a refused tail call it gives the safe verdict. */
function stub(frame: Frame, slot: number): Insn[] {
  if (frame.progArrayFd === undefined) throw new TypeError("a chain with stubs needs a prog array");
  return [
    ...loadMap(2, frame.progArrayFd),
    movImm(3, slot),
    callHelper(HELPER_TAIL_CALL),
    movImm(0, frame.codes.stubFailed),
    exit,
  ];
}

function roundUp8(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** Bytes of one row of the counters, on one CPU. */
export function counterRowBytes(hook: ChainHook): number {
  return columnCount(hook) * 8;
}
