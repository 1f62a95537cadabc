import { ownerMark, policyLayout } from "../generated/policy.ts";
import { isMapped, wordsOf } from "./address-words.ts";
import { bucketCountFor, fillBuckets, type Buckets } from "./buckets.ts";
import { hashAddress, hashPair } from "./hash.ts";
import {
  PolicyTableLimitError,
  type ClassedPrefix,
  type PolicyTable,
  type TableEndpoint,
  type VerdictTable,
} from "./policy-table.ts";

const attempts = 12;

export interface AddressEntries {
  /** Four words of each, masked, the highest first. */
  readonly words: Uint32Array;
  /** length << 24 | class; of what endpoints have, the endpoint */
  readonly entries: Uint32Array;
}

export function readAddresses(prefixes: readonly ClassedPrefix[]): AddressEntries {
  const words = new Uint32Array(prefixes.length * 4);
  const entries = new Uint32Array(prefixes.length);
  for (let at = 0; at < prefixes.length; at++) {
    const prefix = prefixes[at] as ClassedPrefix;
    wordsOf(prefix.bytes, prefix.length, words, at * 4);
    entries[at] = (prefix.length << 24) | prefix.class;
  }
  return { words, entries };
}

/** bpf/include/policy-table.h, enum owner_mark. */
export function readOwners(endpoints: readonly TableEndpoint[]): AddressEntries {
  const words: number[] = [];
  const entries: number[] = [];
  const own = new Uint32Array(4);
  for (const { ifindex, addresses = [] } of endpoints) {
    const more = (ifindex | ownerMark.of_more) >>> 0;
    const marks = new Map<string, readonly number[]>();
    for (const { bytes, hasNeighbours } of addresses) {
      wordsOf(bytes, 128, own, 0);
      words.push(...own);
      entries.push(ifindex);
      const [first = 0, second = 0] = own;
      const all = isMapped(bytes) ? [0, 0, 0xffff, 0] : [0, 0, 0, 0];
      marks.set(all.join(), all);
      if (hasNeighbours && !isMapped(bytes)) marks.set(`${first} ${second}`, [first, second, 0, 0]);
    }
    for (const mark of marks.values()) {
      words.push(...mark);
      entries.push(more);
    }
  }
  return { words: Uint32Array.from(words), entries: Uint32Array.from(entries) };
}

export interface CellEntries {
  readonly tables: Uint32Array;
  readonly places: Uint32Array;
  readonly ranks: Uint32Array;
}

/** All but (0, 0), which is the fallback. */
export function readCells(tables: readonly VerdictTable[]): CellEntries {
  let count = 0;
  for (const { cells } of tables) for (const { row, column } of cells) if (row !== 0 || column !== 0) count++;
  const result = { tables: new Uint32Array(count), places: new Uint32Array(count), ranks: new Uint32Array(count) };
  let at = 0;
  for (const [index, { cells }] of tables.entries()) {
    for (const { row, column, rank } of cells) {
      if (row === 0 && column === 0) continue;
      result.tables[at] = index + 1;
      result.places[at] = (row << 16) | column;
      result.ranks[at++] = rank;
    }
  }
  return result;
}

export interface Hashed {
  readonly seed: number;
  readonly endpoints: Buckets;
  readonly addresses: Buckets;
  readonly cells: Buckets;
  readonly owners: Buckets;
}

/** With other seeds, and then with more buckets, until no bucket overflows. */
export function hashAll(table: PolicyTable, known: AddressEntries, cells: CellEntries, owners: AddressEntries): Hashed {
  const growth = [1, 1, 1, 1];
  const full = (what: string, count: number): PolicyTableLimitError =>
    new PolicyTableLimitError(`write the policy table: ${count} ${what} find no place in ${attempts} attempts`);
  for (let attempt = 0; ; attempt++) {
    const seed = Math.imul(Number(table.serial & 0xffff_ffffn) + attempt, 0x9e37_79b1) >>> 0;
    const fill = (at: number, hashes: Uint32Array, ways: number): Buckets | undefined =>
      fillBuckets(hashes, ways, bucketCountFor(hashes.length, ways) * (growth[at] as number));
    const endpoints = fill(
      0,
      Uint32Array.from(table.endpoints, ({ ifindex }) => hashPair(seed, ifindex, 0)),
      policyLayout.endpoint_ways,
    );
    const addresses = fill(1, hashAddresses(seed, known, 24), policyLayout.address_ways);
    const placed = fill(2, hashCells(seed, cells), policyLayout.cell_ways);
    const owned = fill(3, hashAddresses(seed, owners, 0), policyLayout.address_ways);
    if (endpoints && addresses && placed && owned) return { seed, endpoints, addresses, cells: placed, owners: owned };
    if (attempt === attempts) {
      if (!endpoints) throw full("endpoints", table.endpoints.length);
      if (!addresses) throw full("addresses", table.addresses.length);
      if (!owned) throw full("addresses of endpoints", owners.entries.length);
      throw full("pairs of peers and ports", cells.tables.length);
    }
    for (const [at, buckets] of [endpoints, addresses, placed, owned].entries()) {
      if (!buckets && attempt % 2 === 1) growth[at] = (growth[at] as number) * 2;
    }
  }
}

/** By the upper bits of the entries. */
function hashAddresses(seed: number, { words, entries }: AddressEntries, shift: number): Uint32Array {
  const hashes = new Uint32Array(entries.length);
  for (let at = 0; at < entries.length; at++) {
    const word = at * 4;
    hashes[at] = hashAddress(
      seed,
      words[word] as number,
      words[word + 1] as number,
      words[word + 2] as number,
      words[word + 3] as number,
      (entries[at] as number) >>> shift,
    );
  }
  return hashes;
}

function hashCells(seed: number, { tables, places }: CellEntries): Uint32Array {
  const hashes = new Uint32Array(tables.length);
  for (let at = 0; at < tables.length; at++) {
    hashes[at] = hashPair(seed, tables[at] as number, places[at] as number);
  }
  return hashes;
}
