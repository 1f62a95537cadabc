/**
 * BPF instructions as bytes, little-endian as on every machine that is built for. Numbers of
 * instructions count 8-byte slots, as the kernel and its jump offsets do: a 64-bit load has two.
 */
export interface Insn {
  readonly code: number;
  readonly dst: number;
  readonly src: number;
  readonly off: number;
  readonly imm: number;
}

export const INSN_BYTES = 8;

const LD_IMM64 = 0x18;
const EXIT = 0x95;
const CALL = 0x85;
const JA = 0x05;

/** What `src` means in a call and in a 64-bit load. */
export const PSEUDO_CALL = 1;
export const PSEUDO_MAP_FD = 1;
export const PSEUDO_MAP_VALUE = 2;

export const HELPER_MAP_LOOKUP = 1;
export const HELPER_TAIL_CALL = 12;

export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;

export function mov(dst: Register, src: Register): Insn {
  return { code: 0xbf, dst, src, off: 0, imm: 0 };
}
/** Copies the low 32 bits and clears the rest. */
export function mov32(dst: Register, src: Register): Insn {
  return { code: 0xbc, dst, src, off: 0, imm: 0 };
}
export function movImm(dst: Register, imm: number): Insn {
  return { code: 0xb7, dst, src: 0, off: 0, imm };
}
export function add(dst: Register, src: Register): Insn {
  return { code: 0x0f, dst, src, off: 0, imm: 0 };
}
export function addImm(dst: Register, imm: number): Insn {
  return { code: 0x07, dst, src: 0, off: 0, imm };
}
export function sub(dst: Register, src: Register): Insn {
  return { code: 0x1f, dst, src, off: 0, imm: 0 };
}
/** Adds in 32 bits and clears the rest. */
export function add32Imm(dst: Register, imm: number): Insn {
  return { code: 0x04, dst, src: 0, off: 0, imm };
}
export function andImm(dst: Register, imm: number): Insn {
  return { code: 0x57, dst, src: 0, off: 0, imm };
}
export function shiftLeftImm(dst: Register, imm: number): Insn {
  return { code: 0x67, dst, src: 0, off: 0, imm };
}
export function shiftRightSignedImm(dst: Register, imm: number): Insn {
  return { code: 0xc7, dst, src: 0, off: 0, imm };
}
export function load64(dst: Register, base: Register, off: number): Insn {
  return { code: 0x79, dst, src: base, off, imm: 0 };
}
export function load32(dst: Register, base: Register, off: number): Insn {
  return { code: 0x61, dst, src: base, off, imm: 0 };
}
export function load8(dst: Register, base: Register, off: number): Insn {
  return { code: 0x71, dst, src: base, off, imm: 0 };
}
export function store64(base: Register, off: number, src: Register): Insn {
  return { code: 0x7b, dst: base, src, off, imm: 0 };
}
export function store32(base: Register, off: number, src: Register): Insn {
  return { code: 0x63, dst: base, src, off, imm: 0 };
}
export function store32Imm(base: Register, off: number, imm: number): Insn {
  return { code: 0x62, dst: base, src: 0, off, imm };
}
export function jump(off: number): Insn {
  return { code: JA, dst: 0, src: 0, off, imm: 0 };
}
export function jumpIfEqual(dst: Register, imm: number, off: number): Insn {
  return { code: 0x15, dst, src: 0, off, imm };
}
/** Compares the low 32 bits. */
export function jumpIfEqual32(dst: Register, imm: number, off: number): Insn {
  return { code: 0x16, dst, src: 0, off, imm };
}
/** Unsigned. */
export function jumpIfAbove(dst: Register, imm: number, off: number): Insn {
  return { code: 0x25, dst, src: 0, off, imm };
}
/** Unsigned. */
export function jumpIfAboveReg(dst: Register, src: Register, off: number): Insn {
  return { code: 0x2d, dst, src, off, imm: 0 };
}
export function callHelper(helper: number): Insn {
  return { code: CALL, dst: 0, src: 0, off: 0, imm: helper };
}
/** Calls the function that starts `imm` slots after the next instruction. */
export function callFunction(imm: number): Insn {
  return { code: CALL, dst: 0, src: PSEUDO_CALL, off: 0, imm };
}
export function loadMap(dst: Register, fd: number): readonly [Insn, Insn] {
  return [
    { code: LD_IMM64, dst, src: PSEUDO_MAP_FD, off: 0, imm: fd },
    { code: 0, dst: 0, src: 0, off: 0, imm: 0 },
  ];
}
/** The address of a value in an array map of one entry. */
export function loadMapValue(dst: Register, fd: number, offset: number): readonly [Insn, Insn] {
  return [
    { code: LD_IMM64, dst, src: PSEUDO_MAP_VALUE, off: 0, imm: fd },
    { code: 0, dst: 0, src: 0, off: 0, imm: offset },
  ];
}
export const exit: Insn = { code: EXIT, dst: 0, src: 0, off: 0, imm: 0 };

export function encodeInsns(insns: readonly Insn[]): Uint8Array {
  const bytes = new Uint8Array(insns.length * INSN_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [index, insn] of insns.entries()) {
    const at = index * INSN_BYTES;
    view.setUint8(at, insn.code);
    view.setUint8(at + 1, (insn.src << 4) | insn.dst);
    view.setInt16(at + 2, insn.off, true);
    view.setInt32(at + 4, insn.imm, true);
  }
  return bytes;
}

export function decodeInsns(bytes: Uint8Array): Insn[] {
  if (bytes.length % INSN_BYTES !== 0)
    throw new RangeError(`instructions of ${bytes.length} bytes: not a multiple of ${INSN_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / INSN_BYTES }, (_, index) => {
    const at = index * INSN_BYTES;
    const registers = view.getUint8(at + 1);
    return {
      code: view.getUint8(at),
      dst: registers & 0xf,
      src: registers >> 4,
      off: view.getInt16(at + 2, true),
      imm: view.getInt32(at + 4, true),
    };
  });
}

/** Whether `insn` takes two slots; the second is not an instruction of its own. */
export function isWide(insn: Insn): boolean {
  return insn.code === LD_IMM64;
}

export function isExit(insn: Insn): boolean {
  return insn.code === EXIT;
}

export function isCall(insn: Insn): boolean {
  return insn.code === CALL;
}
