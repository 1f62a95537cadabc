import type { Global } from "./answers.ts";

export type Scalar = number | bigint | boolean;
/** Strings are for char arrays, zero-filled; arrays may be shorter than the variable, the rest keeps its value. */
export type GlobalValue = Scalar | string | Uint8Array | readonly Scalar[];

export function encodeGlobal(global: Global, value: GlobalValue): Uint8Array {
  const misfit = (what: string): RangeError =>
    new RangeError(`set global ${global.name}: ${what}; it has ${global.size} bytes`);
  if (value instanceof Uint8Array) {
    if (value.length !== global.size) throw misfit(`${value.length} bytes given`);
    return value;
  }
  if (typeof value === "string") {
    if (global.elementSize !== 1) throw misfit("a string is for char arrays");
    const text = Buffer.from(value);
    if (text.length > global.size) throw misfit(`${text.length} bytes of text given`);
    return Buffer.concat([text], global.size);
  }
  if (global.kind === "bytes") throw misfit("a struct is set by its bytes");
  const values = Array.isArray(value) ? (value as readonly Scalar[]) : [value as Scalar];
  if (!Array.isArray(value) && global.count !== 1) throw misfit("an array is set by an array");
  if (values.length > global.count) throw misfit(`${values.length} elements given`);
  const bytes = Buffer.alloc(values.length * global.elementSize);
  for (const [index, each] of values.entries()) encodeScalar(bytes, index * global.elementSize, global, each);
  return bytes;
}

function encodeScalar(bytes: Buffer, offset: number, global: Global, value: Scalar): void {
  if (global.kind === "float") {
    if (global.elementSize === 8) bytes.writeDoubleLE(Number(value), offset);
    else bytes.writeFloatLE(Number(value), offset);
    return;
  }
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new RangeError(`set global ${global.name}: ${value} is not an integer; beyond 2^53 use a bigint`);
  }
  const bits = global.elementSize * 8;
  const number = BigInt(value);
  const [low, high] = global.isSigned
    ? [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n]
    : [0n, (1n << BigInt(bits)) - 1n];
  if (number < low || number > high)
    throw new RangeError(`set global ${global.name}: ${number} is not within ${low} and ${high}`);
  for (let index = 0; index < global.elementSize; index++) {
    bytes[offset + index] = Number(BigInt.asUintN(8, number >> BigInt(index * 8)));
  }
}
