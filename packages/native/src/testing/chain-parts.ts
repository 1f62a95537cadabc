/** Members for tests of the chain, written in instructions. */
import { asm } from "@bpfleet/kernel/chain";
import type { ChainHook, Insn } from "@bpfleet/kernel/chain";
import { BpfProgram } from "../binding.ts";
import type { ChainPart } from "../chain.ts";

export type Loaded = Pick<ChainPart, "program" | "instructions">;

/** Local experiments: no protocol handler takes these frames. */
export const etherType = 0x88b5;
export const frameBytes = 64;
/** Where in a frame its first free byte is. */
export const payload = 14;

const contextOffsets = { xdp: { data: 0, end: 4 }, tc: { data: 76, end: 80 } } as const;

/** A frame whose payload begins with `bytes`. */
export function frame(bytes: readonly number[]): Buffer {
  const data = Buffer.alloc(frameBytes);
  data.writeUInt16BE(etherType, 12);
  data.set(
    bytes.map((byte) => byte & 0xff),
    payload,
  );
  return data;
}

/** Runs `body` with R6 = the frame, for our frames; others get `otherwise`. `body` must end with an exit. */
export function onFrames(hook: ChainHook, otherwise: number, body: readonly Insn[]): Insn[] {
  const { data, end } = contextOffsets[hook];
  return [
    asm.load32(6, 1, data),
    asm.load32(7, 1, end),
    asm.mov(2, 6),
    asm.addImm(2, frameBytes),
    asm.movImm(0, otherwise),
    asm.jumpIfAboveReg(2, 7, 5),
    asm.load8(2, 6, 12),
    asm.load8(3, 6, 13),
    asm.shiftLeftImm(2, 8),
    asm.add(2, 3),
    asm.jumpIfEqual(2, etherType, 1),
    asm.exit,
    ...body,
  ];
}

/** Adds one to the number at `index` of an array of per-CPU 64-bit numbers. Spoils R0 to R5, keeps R6 and R7. */
export function count(fd: number, index: number): Insn[] {
  return [
    asm.store32Imm(10, -4, index),
    asm.mov(2, 10),
    asm.addImm(2, -4),
    ...asm.loadMap(1, fd),
    asm.callHelper(asm.HELPER_MAP_LOOKUP),
    asm.jumpIfEqual(0, 0, 3),
    asm.load64(1, 0, 0),
    asm.addImm(1, 1),
    asm.store64(0, 0, 1),
  ];
}

/** Returns the frame's payload byte at `index`, as a signed number. */
export function verdictFromFrame(hook: ChainHook, index: number): Insn[] {
  return onFrames(hook, 0, [
    asm.load8(0, 6, payload + index),
    asm.shiftLeftImm(0, 56),
    asm.shiftRightSignedImm(0, 56),
    asm.exit,
  ]);
}

/** What the program answers to a frame, as a signed number. */
export async function verdictOf(program: BpfProgram, data: Buffer): Promise<number> {
  return (await program.testRun({ data })).retval | 0;
}

/** Loads members and closes them all at the end. */
export class PartLoader implements Disposable {
  readonly #programs = new DisposableStack();

  async load(hook: ChainHook, code: readonly Insn[], license = "GPL", expectedAttachType?: string): Promise<Loaded> {
    const insns = Buffer.from(asm.encodeInsns(code));
    const attach = expectedAttachType ?? (hook === "xdp" ? "xdp" : undefined);
    const typed = attach === undefined ? {} : { expectedAttachType: attach };
    const program = await BpfProgram.loadRaw({
      type: hook === "xdp" ? "xdp" : "sched_cls",
      name: "member",
      license,
      insns,
      ...typed,
    });
    this.#programs.use(program);
    return { program, instructions: { insns, license, flags: 0, ...typed } };
  }

  [Symbol.dispose](): void {
    this.#programs.dispose();
  }
}
