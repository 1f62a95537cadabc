import type { AddressKey } from "../compile/address-key.ts";

/**
 * The Services that a node translates (docs/adr/0025-services-are-translated-at-the-pod.md), resolved: what
 * write-services.ts lays out in lines for the kernel.
 */
export interface ServiceTable {
  /** Tells tables apart. 64 bits, never 0. */
  readonly serial: bigint;
  readonly ports: readonly ServiceTablePort[];
}

/** One port of a Service in one family of addresses. */
export interface ServiceTablePort {
  /** Of all tables the same. 64 bits. */
  readonly id: bigint;
  /** By which clients know it; all in one family. */
  readonly places: Places;
  /** IP protocol. */
  readonly protocol: number;
  /** A client keeps its back end for so long after it last began something. */
  readonly affinitySeconds: number | undefined;
  /** Ready ones that clients on this node may get. */
  readonly backends: Places;
}

export interface ServicePlace {
  readonly key: AddressKey;
  readonly port: number;
}

/**
 * Places in `placeWords` words each: the address in network order, IPv4 as ::ffff:a.b.c.d, then the port. Each once,
 * ascending by address, then port, as the kernel looks for them.
 */
export type Places = Uint32Array;

export const placeWords = 5;

export function packPlaces(places: readonly ServicePlace[]): Places {
  const sorted = places.length < 2 ? places : places.toSorted(comparePlaces);
  const words = new Uint32Array(sorted.length * placeWords);
  let end = 0;
  for (const [at, place] of sorted.entries()) {
    const before = sorted[at - 1];
    if (before !== undefined && comparePlaces(before, place) === 0) continue;
    const { key, port } = place;
    const first = key.length === 3 ? 3 : 0;
    if (first > 0) words[end + 2] = 0xffff;
    for (let word = first; word < 4; word++) {
      const character = 1 + (word - first) * 2;
      words[end + word] = (key.charCodeAt(character) << 16) | key.charCodeAt(character + 1);
    }
    words[end + 4] = port;
    end += placeWords;
  }
  return end === words.length ? words : words.slice(0, end);
}

function comparePlaces(a: ServicePlace, b: ServicePlace): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : a.port - b.port;
}

/** Which places somebody has already. */
export class TakenPlaces {
  readonly #slots: Uint32Array;
  readonly #mask: number;
  /** Of each place its words, and the protocol. */
  readonly #taken: Uint32Array;
  #count = 0;

  /** `most`: how many there will be. */
  constructor(most: number) {
    let size = 4;
    while (size < most * 2) size *= 2;
    this.#slots = new Uint32Array(size);
    this.#mask = size - 1;
    this.#taken = new Uint32Array(most * (placeWords + 1));
  }

  /** Those that nobody had, which are taken now; the same list when it is all of them. */
  take(places: Places, protocol: number): Places {
    const free: number[] = [];
    for (let at = 0; at < places.length; at += placeWords) if (this.#takeOne(places, at, protocol)) free.push(at);
    if (free.length * placeWords === places.length) return places;
    return Uint32Array.from(free.flatMap((at) => [...places.subarray(at, at + placeWords)]));
  }

  #takeOne(places: Places, at: number, protocol: number): boolean {
    let hash = protocol;
    for (let word = 0; word < placeWords; word++)
      hash = Math.imul(hash ^ (places[at + word] ?? 0), 0x9e37_79b1) ^ (hash >>> 15);
    for (let slot = (hash ^ (hash >>> 16)) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const number = this.#slots[slot] ?? 0;
      if (number > 0) {
        if (this.#is((number - 1) * (placeWords + 1), places, at, protocol)) return false;
        continue;
      }
      const base = this.#count * (placeWords + 1);
      for (let word = 0; word < placeWords; word++) this.#taken[base + word] = places[at + word] ?? 0;
      this.#taken[base + placeWords] = protocol;
      this.#slots[slot] = ++this.#count;
      return true;
    }
  }

  #is(base: number, places: Places, at: number, protocol: number): boolean {
    for (let word = 0; word < placeWords; word++) if (this.#taken[base + word] !== places[at + word]) return false;
    return this.#taken[base + placeWords] === protocol;
  }
}
