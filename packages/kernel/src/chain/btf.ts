import { encodeUtf8 } from "@bpfleet/base";

const KIND_INT = 1;
const KIND_PTR = 2;
const KIND_STRUCT = 4;
const KIND_FUNC = 12;
const KIND_FUNC_PROTO = 13;

const HEADER_BYTES = 24;
const LINKAGE_GLOBAL = 1;

export interface ChainBtf {
  readonly bytes: Uint8Array;
  /** Type id of each function, in the order of `functions`. */
  readonly functionIds: readonly number[];
}

/**
 * BTF that declares every function as `int name(struct CONTEXT *ctx)`, global. Global is not a
 * matter of taste: of a static function that tail-calls, kernels before 6.18 take the fall-through
 * value for the only result, and silently remove what comes after it in main.
 */
export function synthesiseBtf(context: string, functions: readonly string[]): ChainBtf {
  const strings = new StringTable();
  const types: number[] = [];
  const type = (name: string, kind: number, vlen: number, sizeOrType: number, ...rest: number[]): void => {
    types.push(strings.offset(name), (kind << 24) | vlen, sizeOrType, ...rest);
  };
  // The ids are the order: 1 int, 2 struct, 3 pointer, 4 prototype, functions from 5 on.
  type("int", KIND_INT, 0, 4, (1 << 24) | 32);
  type(context, KIND_STRUCT, 0, 4);
  type("", KIND_PTR, 0, 2);
  type("", KIND_FUNC_PROTO, 1, 1, strings.offset("ctx"), 3);
  for (const name of functions) type(name, KIND_FUNC, LINKAGE_GLOBAL, 4);

  const text = strings.bytes();
  const typeBytes = types.length * 4;
  const bytes = new Uint8Array(HEADER_BYTES + typeBytes + text.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xeb9f, true);
  view.setUint8(2, 1);
  view.setUint32(4, HEADER_BYTES, true);
  view.setUint32(8, 0, true);
  view.setUint32(12, typeBytes, true);
  view.setUint32(16, typeBytes, true);
  view.setUint32(20, text.length, true);
  for (const [index, word] of types.entries()) view.setUint32(HEADER_BYTES + index * 4, word, true);
  bytes.set(text, HEADER_BYTES + typeBytes);
  return { bytes, functionIds: functions.map((_, index) => 5 + index) };
}

/** `bpf_func_info` records: where each function starts, in instruction slots, and its type. */
export function encodeFuncInfo(records: readonly { readonly start: number; readonly typeId: number }[]): Uint8Array {
  const words = new Uint32Array(records.flatMap(({ start, typeId }) => [start, typeId]));
  return new Uint8Array(words.buffer);
}

class StringTable {
  readonly #offsets = new Map<string, number>([["", 0]]);
  readonly #parts: Uint8Array[] = [new Uint8Array(1)];
  #length = 1;

  offset(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const at = this.#length;
    const part = encodeUtf8(`${text}\0`);
    this.#offsets.set(text, at);
    this.#parts.push(part);
    this.#length += part.length;
    return at;
  }

  bytes(): Uint8Array {
    const joined = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      joined.set(part, at);
      at += part.length;
    }
    return joined;
  }
}
