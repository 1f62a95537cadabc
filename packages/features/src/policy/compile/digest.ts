import type { ColumnMap, PolicyTable, VerdictTable } from "../table/policy-table.ts";
import { spaces } from "./port-sets.ts";

/** 64 bits over words of 32, in two lanes of MurmurHash3. */
export class Digest {
  #high = 0x9747b28c;
  #low = 0x3c6ef372;
  #count = 0;

  add(word: number): void {
    const block = Math.imul(word, 0xcc9e2d51);
    const mixed = Math.imul((block << 15) | (block >>> 17), 0x1b873593);
    const high = this.#high ^ mixed;
    this.#high = (Math.imul((high << 13) | (high >>> 19), 5) + 0xe6546b64) | 0;
    const low = this.#low ^ mixed;
    this.#low = (Math.imul((low << 11) | (low >>> 21), 9) + 0x85ebca6b) | 0;
    this.#count++;
  }

  addAll(words: Iterable<number>): void {
    for (const word of words) this.add(word);
  }

  addText(text: string): void {
    this.add(text.length);
    for (let at = 0; at < text.length; at++) this.add(text.charCodeAt(at));
  }

  /** Never 0. */
  get value(): bigint {
    const high = finish(this.#high ^ this.#count);
    const low = finish(this.#low ^ this.#count);
    const value = (BigInt(high) << 32n) | BigInt(low);
    return value === 0n ? 1n : value;
  }
}

function finish(lane: number): number {
  let hash = Math.imul(lane ^ (lane >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Of everything that a table says. */
export function serialOf(table: Omit<PolicyTable, "serial">): bigint {
  const digest = new Digest();
  const { counterSlot, classCount, unknownClass, addresses, endpoints, tables, columnMaps, names } = table;
  digest.addAll([counterSlot, classCount, unknownClass.ipv4, unknownClass.ipv6]);
  digest.addAll([addresses.length, endpoints.length, tables.length, columnMaps.length]);
  for (const { bytes, length, class: number } of addresses) {
    digest.add(length);
    digest.add(number);
    for (let at = 0; at < 16; at += 4)
      digest.add(
        ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0),
      );
  }
  for (const { ifindex, ingress, egress, addresses: own = [] } of endpoints) {
    digest.addAll([ifindex, ingress.length, ...ingress, egress.length, ...egress, own.length]);
    for (const { bytes: address, hasNeighbours } of own) {
      digest.addAll(address);
      digest.add(Number(hasNeighbours));
    }
  }
  for (const each of tables) addTable(digest, each);
  for (const map of columnMaps) addColumns(digest, map);
  if (names !== undefined) {
    digest.addAll([Number(names.serial & 0xffff_ffffn), Number(names.serial >> 32n), names.worldClasses]);
    for (const set of names.sets) {
      digest.add(set.length);
      digest.addAll(set);
    }
  }
  return digest.value;
}

function addTable(digest: Digest, table: VerdictTable): void {
  const { rows, columnMap, cells, rules, isOfPorts = false, connectionRate = 0 } = table;
  digest.addAll([rows.length, columnMap, cells.length, rules.length, Number(isOfPorts), connectionRate]);
  if (table.mostConnections !== undefined) digest.addText(`connections ${table.mostConnections}`);
  digest.addAll(rows);
  for (const { row, column, rank } of cells) {
    digest.add(row * 65_536 + column);
    digest.add(rank);
  }
  for (const { rule, verdict, keepsFlows, names, effect, logs } of rules) {
    digest.add(rule * 4 + (verdict === "drop" ? 2 : 0) + (keepsFlows ? 1 : 0));
    if (names !== undefined) digest.addAll([-1, names === "any" ? -1 : names]);
    if (logs === true) digest.addText("logs");
    if (effect !== undefined)
      digest.addText(`${effect.bandwidth?.bitsPerSecond} ${effect.bandwidth?.burstBytes} ${effect.mark}`);
  }
}

function addColumns(digest: Digest, map: ColumnMap): void {
  for (const space of spaces) {
    digest.add(map[space].length);
    for (const { from, to, column } of map[space]) {
      digest.add(from * 65_536 + to);
      digest.add(column);
    }
  }
}
