import type { Prefix } from "./intent.ts";

/**
 * Prefixes in order of address, shorter before longer, each once: where one is given twice the first
 * one stays. `rules` are the numbers given with them.
 */
export interface PrefixList {
  readonly count: number;
  /** Addresses, each of `addressWords` numbers of 32 bits, the first bits first. */
  readonly words: Uint32Array;
  readonly addressWords: 1 | 4;
  readonly lengths: Uint8Array;
  readonly rules: Uint32Array;
}

/** Rule numbers are 1-based positions, so that 0 can mean "none". */
export function sortPrefixes(
  prefixes: readonly { readonly prefix: Prefix; readonly rule: number }[],
  family: 4 | 6,
): PrefixList {
  const addressBytes = family === 4 ? 4 : 16;
  const stride = addressBytes + 1;
  const keys = new Uint8Array(prefixes.length * stride);
  let key = 0;
  for (const { prefix } of prefixes) {
    for (let byte = 0; byte < addressBytes; byte++) keys[key + byte] = prefix.bytes[byte] ?? 0;
    keys[key + addressBytes] = prefix.length;
    key += stride;
  }
  const order = distinct(radixSort(keys, stride, prefixes.length), keys, stride);
  const addressWords = family === 4 ? 1 : 4;
  const words = new Uint32Array(order.length * addressWords);
  const lengths = new Uint8Array(order.length);
  const rules = new Uint32Array(order.length);
  const view = new DataView(keys.buffer);
  for (let at = 0; at < order.length; at++) {
    const index = order[at] ?? 0;
    for (let word = 0; word < addressWords; word++)
      words[at * addressWords + word] = view.getUint32(index * stride + word * 4);
    lengths[at] = keys[index * stride + addressBytes] ?? 0;
    rules[at] = prefixes[index]?.rule ?? 0;
  }
  return { count: order.length, words, addressWords, lengths, rules };
}

/** Stable, by the last byte first. */
function radixSort(keys: Uint8Array, stride: number, count: number): Uint32Array {
  let order = Uint32Array.from({ length: count }, (_, index) => index);
  let next = new Uint32Array(count);
  for (let byte = stride - 1; byte >= 0; byte--) {
    const starts = new Uint32Array(257);
    for (let at = byte; at < keys.length; at += stride) {
      const value = keys[at] ?? 0;
      starts[value + 1] = (starts[value + 1] ?? 0) + 1;
    }
    if (starts.includes(count)) continue;
    for (let value = 1; value < 257; value++) starts[value] = (starts[value] ?? 0) + (starts[value - 1] ?? 0);
    for (const index of order) {
      const value = keys[index * stride + byte] ?? 0;
      const place = starts[value] ?? 0;
      next[place] = index;
      starts[value] = place + 1;
    }
    [order, next] = [next, order];
  }
  return order;
}

function distinct(order: Uint32Array, keys: Uint8Array, stride: number): Uint32Array {
  const isSame = (a: number, b: number): boolean => {
    for (let byte = 0; byte < stride; byte++) if (keys[a * stride + byte] !== keys[b * stride + byte]) return false;
    return true;
  };
  return order.filter((index, at) => at === 0 || !isSame(order[at - 1] ?? 0, index));
}
