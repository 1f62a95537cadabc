import { encodeUtf8 } from "@bpfleet/base";
import type { BytecodeGlobal, GlobalShape } from "@bpfleet/kernel";
import type { GlobalWish } from "./intent.ts";

export type EncodedGlobal =
  | { readonly bytes: Uint8Array; readonly refusal?: undefined }
  | { readonly bytes?: undefined; readonly refusal: string };

/** The variable as it is in memory, whatever its type. */
const rawForm = /^bytes:((?:[0-9a-f]{2})+)$/i;

/** The bytes of a variable; a refusal names it, its C type and what was given. */
export function encodeWish(global: BytecodeGlobal, value: GlobalWish["value"]): EncodedGlobal {
  const raw = typeof value === "string" ? rawForm.exec(value)?.[1] : undefined;
  if (raw !== undefined) return encodeRaw(global, raw);
  const bytes = new Uint8Array(global.sizeBytes);
  const misfit = put(global.shape, value, new DataView(bytes.buffer), 0);
  if (misfit === undefined) return { bytes };
  const given = typeof value === "string" ? JSON.stringify(value) : renderGiven(value);
  return { refusal: `set global ${global.name}, ${global.type}, to ${given}: ${misfit}` };
}

function encodeRaw({ name, type, sizeBytes }: BytecodeGlobal, hex: string): EncodedGlobal {
  const given = hex.length / 2;
  if (given !== sizeBytes)
    return { refusal: `set global ${name}, ${type}: it has ${sizeBytes} bytes; ${given} are given` };
  return { bytes: Uint8Array.from({ length: given }, (_, at) => Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16)) };
}

type Scalar = string | number | boolean;

/** What is wrong; `undefined` when it was put. */
function put(shape: GlobalShape, value: GlobalWish["value"], view: DataView, at: number): string | undefined {
  if (shape.is === "array") return putArray(shape, value, view, at);
  if (typeof value === "object") return "it is one value, not a list";
  return putScalar(shape, value, view, at);
}

function putArray(
  { count, of }: Extract<GlobalShape, { is: "array" }>,
  value: GlobalWish["value"],
  view: DataView,
  at: number,
): string | undefined {
  if (of.is === "char" && typeof value === "string") {
    const text = encodeUtf8(value);
    if (text.length >= count) return `it holds ${count - 1} bytes and a final 0; this text has ${text.length}`;
    for (const [index, byte] of text.entries()) view.setUint8(at + index, byte);
    return undefined;
  }
  if (typeof value !== "object") return `it takes a list of up to ${count} values`;
  if (value.length > count) return `it has ${count} elements; ${value.length} are given`;
  const size = sizeOf(of);
  for (const [index, each] of value.entries()) {
    const misfit = put(of, each, view, at + index * size);
    if (misfit !== undefined) return `element ${index}: ${misfit}`;
  }
  return undefined;
}

function putScalar(
  shape: Exclude<GlobalShape, { is: "array" }>,
  value: Scalar,
  view: DataView,
  at: number,
): string | undefined {
  switch (shape.is) {
    case "bool":
      if (value !== true && value !== false && value !== "true" && value !== "false" && value !== 0 && value !== 1)
        return "it takes true or false";
      view.setUint8(at, value === true || value === "true" || value === 1 ? 1 : 0);
      return undefined;
    case "float": {
      const number = Number(value);
      if (typeof value === "boolean" || value === "" || !Number.isFinite(number)) return "it takes a number";
      if (shape.sizeBytes === 8) view.setFloat64(at, number, true);
      else view.setFloat32(at, number, true);
      return undefined;
    }
    case "char":
      return putInt({ sizeBytes: 1, isSigned: false }, value, view, at);
    case "int":
      return putInt(shape, value, view, at);
    case "enum": {
      const named = shape.names[String(value)];
      const number = toInteger(named ?? value);
      const isNamed = number !== undefined && Object.values(shape.names).includes(String(number));
      if (!isNamed) return `it takes ${Object.keys(shape.names).join(", ")}`;
      setInteger(view, at, shape.sizeBytes, number);
      return undefined;
    }
    case "other":
      return "only numbers, booleans, text, enumerators and lists of these can be set";
  }
}

function putInt(
  { sizeBytes, isSigned }: { sizeBytes: number; isSigned: boolean },
  value: Scalar,
  view: DataView,
  at: number,
): string | undefined {
  const number = typeof value === "boolean" ? BigInt(value) : toInteger(value);
  if (number === undefined) return "it takes a whole number";
  const bits = BigInt(sizeBytes * 8);
  const [low, high] = isSigned ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
  if (number < low || number > high) return `it takes ${low} to ${high}`;
  setInteger(view, at, sizeBytes, number);
  return undefined;
}

/** Numbers beyond 2^53 are written as text; `0x…` too. */
function toInteger(value: Scalar): bigint | undefined {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  const parts = /^(-?)(\d+|0x[0-9a-fA-F]+)$/.exec(String(value));
  if (!parts) return undefined;
  const magnitude = BigInt(parts[2] ?? "");
  return parts[1] === "-" ? -magnitude : magnitude;
}

function setInteger(view: DataView, at: number, sizeBytes: number, number: bigint): void {
  for (let index = 0; index < sizeBytes; index++)
    view.setUint8(at + index, Number(BigInt.asUintN(8, number >> BigInt(index * 8))));
}

function sizeOf(shape: GlobalShape): number {
  if (shape.is === "array") return shape.count * sizeOf(shape.of);
  return shape.is === "bool" || shape.is === "char" ? 1 : shape.sizeBytes;
}

function renderGiven(value: Exclude<GlobalWish["value"], string>): string {
  return typeof value === "object" ? `[${value.map(String).join(", ")}]` : String(value);
}
