import type { PrefixList } from "./prefix-list.ts";

/**
 * The words of a trie and how to enter it; bpf/include/prefix-trie.h describes the layout and walks it.
 * A slot is a rule, or `nodeFlag` and the word at which a node starts.
 */
export interface PrefixTrie {
  /** Bytes of all chunks, one after the other. */
  readonly bytes: Uint8Array;
  readonly chunkBytes: number;
  readonly rootPath: bigint;
  readonly rootSkip: number;
  readonly directBits: number;
  /** Last word of a chunk at which a node may start. */
  readonly lastNode: number;
}

const stride = 6;
const fanout = 1 << stride;
const nodeFlag = 0x80000000;
const chunkWords = 16384;
const nodeWords = 35;
const headerSlots = 6;
const longestSkip = 63;

/** More of the first bits are looked up at once the more prefixes there are; a slot costs four bytes. */
function directBitsFor(count: number): number {
  return Math.max(1, Math.min(16, Math.ceil(Math.log2(count + 1)) + 1));
}

export function buildPrefixTrie(list: PrefixList, directBits = directBitsFor(list.count)): PrefixTrie {
  const builder = new TrieBuilder(list);
  return builder.build(directBits);
}

/** Writes nodes bottom up, so that a node is complete when its place is known. */
class TrieBuilder {
  readonly #list: PrefixList;
  readonly #bits: number;
  #slots = new Uint32Array(1 << 16);
  /** First free word. */
  #next = 0;

  constructor(list: PrefixList) {
    this.#list = list;
    this.#bits = list.addressWords * 32;
  }

  build(directBits: number): PrefixTrie {
    const { count, rules } = this.#list;
    const skip = count === 0 ? 0 : Math.min(this.#shared(0, count), this.#bits - directBits, longestSkip);
    const direct = new Uint32Array(1 << directBits);
    this.#allocate(Math.ceil(direct.length / 2));
    // What ends with the shared path holds wherever nothing longer does.
    const isCovered = count > 0 && this.#length(0) === skip;
    this.#fill(direct, isCovered ? 1 : 0, count, skip, directBits, isCovered ? (rules[0] ?? 0) : 0);
    this.#slots.set(direct, 0);
    const words = this.#next;
    const isOneChunk = words + nodeWords <= chunkWords;
    const chunk = isOneChunk ? words + nodeWords : chunkWords;
    const chunks = Math.ceil(words / chunkWords);
    return {
      bytes: new Uint8Array(this.#slots.buffer).slice(0, (isOneChunk ? chunk : chunks * chunk) * 8),
      chunkBytes: chunk * 8,
      rootPath: skip === 0 ? 0n : (BigInt(this.#take(0, 0, 32)) << 32n) | BigInt(this.#take(0, 32, 32)),
      rootSkip: skip,
      directBits,
      lastNode: chunk - nodeWords,
    };
  }

  /**
   * The slot for the region of addresses that share the first `depth` bits of the prefixes
   * [from, to), all of them longer than that; `inherited` is the rule where none of them holds.
   */
  #region(from: number, to: number, depth: number, inherited: number): number {
    if (from === to) return inherited;
    const at = Math.min(this.#shared(from, to), depth + longestSkip);
    let rule = inherited;
    let next = from;
    if (this.#length(from) === at) rule = this.#list.rules[next++] ?? 0;
    if (next === to) return this.#node([rule], 1, 0, from, depth, at - depth, inherited);
    const slots = new Uint32Array(fanout);
    this.#fill(slots, next, to, at, stride, rule);
    return this.#compress(slots, from, depth, at - depth, inherited);
  }

  /** Slots of the `bits` bits at `at`; prefixes [from, to) are longer than `at` and share what is before it. */
  #fill(slots: Uint32Array, from: number, to: number, at: number, bits: number, inherited: number): void {
    slots.fill(inherited);
    const end = at + bits;
    let index = from;
    while (index < to) {
      const slot = this.#take(index, at, bits);
      const length = this.#length(index);
      if (length < end) {
        // Shorter ones come first, so that longer ones overwrite them.
        slots.fill(this.#list.rules[index] ?? 0, slot, slot + (1 << (end - length)));
        index++;
        continue;
      }
      let groupEnd = index + 1;
      while (groupEnd < to && this.#take(groupEnd, at, bits) === slot) groupEnd++;
      const isExact = length === end;
      const rule = isExact ? (this.#list.rules[index] ?? 0) : (slots[slot] ?? 0);
      slots[slot] = this.#region(isExact ? index + 1 : index, groupEnd, end, rule);
      index = groupEnd;
    }
  }

  /** Keeps the first of each run of equal slots, in place. */
  #compress(slots: Uint32Array, sample: number, depth: number, skip: number, fallback: number): number {
    let low = 0;
    let high = 0;
    let count = 0;
    let last = -1;
    for (let slot = 0; slot < fanout; slot++) {
      const value = slots[slot] ?? 0;
      if (value === last) continue;
      if (slot < 32) low |= 1 << slot;
      else high |= 1 << (slot - 32);
      slots[count++] = last = value;
    }
    return this.#node(slots.subarray(0, count), low, high, sample, depth, skip, fallback);
  }

  #node(
    slots: ArrayLike<number>,
    runsLow: number,
    runsHigh: number,
    sample: number,
    depth: number,
    skip: number,
    fallback: number,
  ): number {
    const word = this.#allocate(Math.ceil((headerSlots + slots.length) / 2));
    const at = word * 2;
    this.#slots[at] = runsLow;
    this.#slots[at + 1] = runsHigh;
    this.#slots[at + 2] = this.#take(sample, depth + 32, 32);
    this.#slots[at + 3] = this.#take(sample, depth, 32);
    this.#slots[at + 4] = fallback;
    this.#slots[at + 5] = skip;
    this.#slots.set(slots, at + headerSlots);
    return nodeFlag + word;
  }

  /** Words of which no chunk boundary cuts a node, nor comes nearer than a largest node. */
  #allocate(words: number): number {
    const within = this.#next % chunkWords;
    const isNode = this.#next > 0;
    if (isNode && within > chunkWords - nodeWords) this.#next += chunkWords - within;
    const word = this.#next;
    this.#next += words;
    const needed = (Math.ceil(this.#next / chunkWords) * chunkWords + nodeWords) * 2;
    if (needed > this.#slots.length) {
      const larger = new Uint32Array(Math.max(needed, this.#slots.length * 2));
      larger.set(this.#slots);
      this.#slots = larger;
    }
    return word;
  }

  #length(index: number): number {
    return this.#list.lengths[index] ?? 0;
  }

  /** How many leading bits the prefixes [from, to) share, at most the length of the shortest of them. */
  #shared(from: number, to: number): number {
    const { words, addressWords } = this.#list;
    // Sorted, so the first is the shortest of those that lie on the shared path.
    const length = this.#length(from);
    for (let word = 0; word < addressWords; word++) {
      const differing = (words[from * addressWords + word] ?? 0) ^ (words[(to - 1) * addressWords + word] ?? 0);
      if (differing !== 0) return Math.min(word * 32 + Math.clz32(differing), length);
    }
    return length;
  }

  /** `count` bits (1 to 32) of a prefix from bit `at`; 0 beyond its end. */
  #take(index: number, at: number, count: number): number {
    const { words, addressWords } = this.#list;
    const word = at >>> 5;
    if (word >= addressWords) return 0;
    const shift = at & 31;
    const first = words[index * addressWords + word] ?? 0;
    const second = shift > 0 && word + 1 < addressWords ? (words[index * addressWords + word + 1] ?? 0) : 0;
    return (shift === 0 ? first : (first << shift) | (second >>> (32 - shift))) >>> (32 - count);
  }
}
