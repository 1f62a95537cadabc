import { filterSize } from "./generated/filter.ts";
import type { PrefixList } from "./prefix-list.ts";

/** The words of a trie and how to enter it; bpf/include/prefix-trie.h describes the layout and walks it. */
export interface PrefixTrie {
  /** Bytes of all chunks, one after the other. */
  readonly bytes: Uint8Array;
  readonly chunkBytes: number;
  readonly rootPath: bigint;
  readonly rootSkip: number;
  readonly directBits: number;
  /** Last word of a chunk at which a node may start. */
  readonly lastNode: number;
  /** Nodes on the longest way down. */
  readonly depth: number;
}

const stride = 6;
const fanout = 1 << stride;
const isNode = 1 << 24;
const skipShift = 26;
const longestSkip = 32;
const longestRootSkip = 63;
const { trie_chunk_words: chunkWords, trie_node_words: nodeWords } = filterSize;
const headerWords = 2;

/** More of the first bits are looked up at once the more prefixes there are; a slot costs eight bytes. */
function directBitsFor(count: number): number {
  return Math.max(1, Math.min(18, Math.ceil(Math.log2(count + 1)) + 1));
}

export function buildPrefixTrie(list: PrefixList, directBits = directBitsFor(list.count)): PrefixTrie {
  return new TrieBuilder(list).build(directBits);
}

/** Slots under construction: the low half is number, kind and skip, the high half is the path. */
class Slots {
  readonly low: Uint32Array;
  readonly high: Uint32Array;

  constructor(count: number) {
    this.low = new Uint32Array(count);
    this.high = new Uint32Array(count);
  }

  set(slot: number, low: number, high: number): void {
    this.low[slot] = low;
    this.high[slot] = high;
  }

  fill(rule: number, from: number, to: number): void {
    this.low.fill(rule, from, to);
    this.high.fill(0, from, to);
  }
}

/** Writes nodes bottom up, so that a node is complete when its place is known. */
class TrieBuilder {
  readonly #list: PrefixList;
  /** Halves of words, the low one first. */
  #halves = new Uint32Array(1 << 16);
  /** First free word. */
  #next = 0;
  /** One for each level at work. */
  readonly #scratch: Slots[] = [];

  constructor(list: PrefixList) {
    this.#list = list;
  }

  build(directBits: number): PrefixTrie {
    const { count, rules, addressWords } = this.#list;
    const skip = count === 0 ? 0 : Math.min(this.#shared(0, count), addressWords * 32 - directBits, longestRootSkip);
    const direct = new Slots(1 << directBits);
    this.#allocate(1 << directBits);
    // What ends with the shared path holds wherever nothing longer does.
    const isCovered = count > 0 && this.#length(0) === skip;
    direct.fill(isCovered ? (rules[0] ?? 0) : 0, 0, 1 << directBits);
    this.#fill(direct, isCovered ? 1 : 0, count, skip, directBits, 0);
    for (let slot = 0; slot < 1 << directBits; slot++) this.#store(slot, direct, slot);
    const words = this.#next;
    const isOneChunk = words + nodeWords <= chunkWords;
    const chunk = isOneChunk ? words + nodeWords : chunkWords;
    const total = isOneChunk ? chunk : Math.ceil(words / chunkWords) * chunkWords;
    return {
      bytes: new Uint8Array(this.#halves.buffer).slice(0, total * 8),
      chunkBytes: chunk * 8,
      rootPath: skip === 0 ? 0n : (BigInt(this.#take(0, 0, 32)) << 32n) | BigInt(this.#take(0, 32, 32)),
      rootSkip: skip,
      directBits,
      lastNode: chunk - nodeWords,
      depth: this.#scratch.length,
    };
  }

  /**
   * Sets a slot to the region of addresses that share the first `depth` bits of the prefixes
   * [from, to), all of them longer than that. The slot holds the rule where none of them does.
   */
  #region(into: Slots, slot: number, from: number, to: number, depth: number, level: number): void {
    if (from === to) return;
    const inherited = into.low[slot] ?? 0;
    const at = Math.min(this.#shared(from, to), depth + longestSkip);
    const skip = at - depth;
    const path = skip === 0 ? 0 : this.#take(from, depth, skip) * 2 ** (32 - skip);
    const isCovered = this.#length(from) === at;
    const next = isCovered ? from + 1 : from;
    const rule = isCovered ? (this.#list.rules[from] ?? 0) : inherited;
    if (next === to && inherited === 0) {
      into.set(slot, rule + skip * 2 ** skipShift, path);
      return;
    }
    const slots = (this.#scratch[level] ??= new Slots(fanout));
    slots.fill(rule, 0, fanout);
    this.#fill(slots, next, to, at, stride, level + 1);
    into.set(slot, this.#node(slots, inherited) + isNode + skip * 2 ** skipShift, path);
  }

  /** Slots of the `bits` bits at `at`; prefixes [from, to) are longer than `at` and share what is before it. */
  #fill(slots: Slots, from: number, to: number, at: number, bits: number, level: number): void {
    const end = at + bits;
    let index = from;
    while (index < to) {
      const slot = this.#take(index, at, bits);
      const length = this.#length(index);
      if (length <= end) {
        // Shorter ones come first, so that longer ones overwrite them.
        slots.fill(this.#list.rules[index] ?? 0, slot, slot + (1 << (end - length)));
        index++;
        continue;
      }
      const first = index++;
      while (index < to && this.#take(index, at, bits) === slot) index++;
      this.#region(slots, slot, first, index, end, level);
    }
  }

  /** Keeps the first of each run of equal slots. */
  #node(slots: Slots, fallback: number): number {
    const { low, high } = slots;
    const isStart = (slot: number): boolean =>
      slot === 0 || low[slot] !== low[slot - 1] || high[slot] !== high[slot - 1];
    let runsLow = 0;
    let runsHigh = 0;
    let count = 0;
    for (let slot = 0; slot < fanout; slot++) {
      if (!isStart(slot)) continue;
      if (slot < 32) runsLow |= 1 << slot;
      else runsHigh |= 1 << (slot - 32);
      count++;
    }
    const word = this.#allocate(headerWords + count);
    this.#halves[word * 2] = runsLow;
    this.#halves[word * 2 + 1] = runsHigh;
    this.#halves[word * 2 + 2] = fallback;
    let at = word + headerWords;
    for (let slot = 0; slot < fanout; slot++) if (isStart(slot)) this.#store(at++, slots, slot);
    return word;
  }

  #store(word: number, slots: Slots, slot: number): void {
    this.#halves[word * 2] = slots.low[slot] ?? 0;
    this.#halves[word * 2 + 1] = slots.high[slot] ?? 0;
  }

  /** Words of which no chunk boundary cuts a node, nor comes nearer than a largest node. */
  #allocate(words: number): number {
    const within = this.#next % chunkWords;
    const isRoot = this.#next === 0;
    if (!isRoot && within > chunkWords - nodeWords) this.#next += chunkWords - within;
    const word = this.#next;
    this.#next += words;
    const needed = (Math.ceil(this.#next / chunkWords) * chunkWords + nodeWords) * 2;
    if (needed > this.#halves.length) {
      const larger = new Uint32Array(Math.max(needed, this.#halves.length * 2));
      larger.set(this.#halves);
      this.#halves = larger;
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
