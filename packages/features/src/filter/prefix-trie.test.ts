import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Prefix } from "./intent.ts";
import { sortPrefixes } from "./prefix-list.ts";
import { buildPrefixTrie, type PrefixTrie } from "./prefix-trie.ts";

interface Ruled {
  readonly prefix: Prefix;
  readonly rule: number;
}

const bits = { 4: 32, 6: 128 } as const;

function toNumber(bytes: Uint8Array): bigint {
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function toBytes(value: bigint, family: 4 | 6): Uint8Array {
  return Uint8Array.from({ length: bits[family] / 8 }, (_, at) =>
    Number((value >> BigInt(bits[family] - 8 - at * 8)) & 255n),
  );
}

function mask(value: bigint, length: number, family: 4 | 6): bigint {
  const tail = BigInt(bits[family] - length);
  return (value >> tail) << tail;
}

/** The longest prefix that holds the address, the first of equal ones. */
function findNaively(prefixes: readonly Ruled[], address: bigint, family: 4 | 6): number {
  let best: Ruled | undefined;
  for (const each of prefixes) {
    const { bytes, length } = each.prefix;
    if (mask(address, length, family) === toNumber(bytes) && (best === undefined || length > best.prefix.length))
      best = each;
  }
  return best?.rule ?? 0;
}

/** The walk of bpf/include/prefix-trie.h over the same bytes. */
function findInTrie(trie: PrefixTrie, address: bigint, family: 4 | 6): number {
  const view = new DataView(trie.bytes.buffer, trie.bytes.byteOffset, trie.bytes.byteLength);
  let rest = address << BigInt(128 - bits[family]);
  const take = (count: number): bigint => {
    const taken = rest >> BigInt(128 - count);
    rest = BigInt.asUintN(128, rest << BigInt(count));
    return taken;
  };
  if (take(trie.rootSkip) !== trie.rootPath >> BigInt(64 - trie.rootSkip)) return 0;
  let slot = view.getBigUint64(Number(take(trie.directBits)) * 8, true);
  for (let level = 0; level <= trie.depth; level++) {
    const skip = Number((slot >> 26n) & 63n);
    const isOff = take(skip) !== slot >> BigInt(64 - skip);
    const number = Number(slot & 0xffffffn);
    if ((slot & (1n << 24n)) === 0n) return isOff ? 0 : number;
    const at = number * 8;
    assert.ok((at % trie.chunkBytes) / 8 <= trie.lastNode, "a node starts where the check in C lets it");
    if (isOff) return view.getUint32(at + 8, true);
    const before = view.getBigUint64(at, true) & ((2n << take(6)) - 1n);
    const rank = before.toString(2).replaceAll("0", "").length - 1;
    slot = view.getBigUint64(at + 16 + rank * 8, true);
  }
  throw new Error(`find ${address} in the trie: it goes deeper than ${trie.depth}`);
}

function prefixesOf(family: 4 | 6): fc.Arbitrary<Ruled[]> {
  const width = bits[family];
  // Few distinct high bits and all lengths, so that prefixes nest and branch late.
  const address = fc
    .tuple(
      fc.bigInt({ min: 0n, max: 3n }),
      fc.bigInt({ min: 0n, max: (1n << BigInt(width)) - 1n }),
      fc.integer({ min: 0, max: width }),
    )
    .map(([top, low, zeros]) => (top << BigInt(width - 2)) | (low & ((1n << BigInt(width - zeros)) - 1n)));
  const prefix = fc.tuple(address, fc.integer({ min: 0, max: width })).map(([value, length]): Prefix => ({
    family,
    length,
    bytes: toBytes(mask(value, length, family), family),
  }));
  return fc.array(prefix, { maxLength: 60 }).map((all) => all.map((each, at) => ({ prefix: each, rule: at + 1 })));
}

/** Addresses at and around the borders of the prefixes, and some anywhere. */
function probes(prefixes: readonly Ruled[], family: 4 | 6, random: readonly bigint[]): bigint[] {
  const last = (1n << BigInt(bits[family])) - 1n;
  const borders = prefixes.flatMap(({ prefix }) => {
    const first = toNumber(prefix.bytes);
    const end = first + (1n << BigInt(bits[family] - prefix.length));
    return [first, first - 1n, end, end - 1n, (first + end) / 2n];
  });
  return [0n, last, ...borders, ...random].filter((address) => address >= 0n && address <= last);
}

for (const family of [4, 6] as const) {
  test(`buildPrefixTrie finds the longest IPv${family} prefix as a search through all of them does`, () => {
    const random = fc.array(fc.bigInt({ min: 0n, max: (1n << BigInt(bits[family])) - 1n }), { maxLength: 10 });
    const directBits = fc.integer({ min: 1, max: 10 });
    fc.assert(
      fc.property(prefixesOf(family), random, directBits, (prefixes, anywhere, direct) => {
        const trie = buildPrefixTrie(sortPrefixes(prefixes, family), direct);
        for (const address of probes(prefixes, family, anywhere)) {
          assert.equal(findInTrie(trie, address, family), findNaively(prefixes, address, family), address.toString(16));
        }
      }),
      { numRuns: 300 },
    );
  });
}

test("buildPrefixTrie keeps nodes off the borders of chunks when a list needs several", () => {
  const prefixes = Array.from({ length: 30_000 }, (_, at): Ruled => {
    const value = BigInt((Math.imul(at + 1, 0x9e3779b1) >>> 0) & ~0xf) | BigInt(at & 15);
    const length = 24 + (at % 9);
    return { prefix: { family: 4, length, bytes: toBytes(mask(value, length, 4), 4) }, rule: at + 1 };
  });
  const list = sortPrefixes(prefixes, 4);
  const trie = buildPrefixTrie(list);
  assert.ok(trie.bytes.length / trie.chunkBytes > 2, `${trie.bytes.length / trie.chunkBytes} chunks`);
  assert.equal(trie.bytes.length % trie.chunkBytes, 0);
  const byKey = new Map(prefixes.map(({ prefix, rule }) => [`${toNumber(prefix.bytes)}/${prefix.length}`, rule]));
  for (let at = 0; at < prefixes.length; at += 7) {
    const address = toNumber(prefixes[at]!.prefix.bytes);
    const lengths = [32, 31, 30, 29, 28, 27, 26, 25, 24];
    const expected = lengths
      .map((length) => byKey.get(`${mask(address, length, 4)}/${length}`))
      .find((rule) => rule !== undefined);
    const found = findInTrie(trie, address, 4);
    assert.equal(prefixes[found - 1]!.prefix.length, prefixes[expected! - 1]!.prefix.length);
  }
});

test("sortPrefixes keeps the first of equal prefixes", () => {
  const bytes = Uint8Array.of(10, 0, 0, 0);
  const list = sortPrefixes(
    [7, 3].map((rule) => ({ prefix: { family: 4, bytes, length: 8 }, rule })),
    4,
  );
  assert.equal(list.count, 1);
  assert.equal(list.rules[0], 7);
});
