import type { ServiceAddresses } from "../services/service-addresses.ts";
import type { ClassedPrefix } from "../table/policy-table.ts";
import { bytesOfKey, isOfLinks, lastOfPrefix, linkPrefix, widthOf, type AddressKey } from "./address-key.ts";
import { lowerBound } from "./lower-bound.ts";
import type { CompiledNames } from "./names.ts";
import { Partition } from "./partition.ts";
import type { KeyedPrefix, NumberedPeer, PeerMeaning, ServedEntity } from "./peers.ts";
import { link6, world4, world6, type Population } from "./population.ts";

/** Addresses that no peer tells apart are one class. */
export interface Classes {
  readonly count: number;
  /** Those below are neither of pods nor of nodes, where rules are about names. */
  readonly ofWorld: number;
  readonly unknown: { readonly ipv4: number; readonly ipv6: number };
  readonly addresses: readonly ClassedPrefix[];
  /** By the number of a peer: ascending classes of whom it means; those of names are behind those of addresses. */
  readonly ofPeer: readonly (readonly number[])[];
}

/** Address space in pieces: each is a prefix without the longer ones that are pieces too. */
interface Pieces {
  /** Ascending, and by length where they are equal. */
  readonly keys: readonly AddressKey[];
  readonly lengths: readonly number[];
  readonly holders: readonly number[];
}

export function classify(
  peers: readonly NumberedPeer[],
  population: Population,
  services: ServiceAddresses,
  names?: NamePeers,
): Classes {
  const byHolder = peers.filter(({ meaning }) => isOfHolders(meaning));
  const byAddress = peers.filter(({ meaning }) => !isOfHolders(meaning));
  const serviceAddresses = new Map(
    byAddress.flatMap(({ id, meaning }) => (meaning.is === "services" ? [[id, services.of(meaning)]] : [])),
  );

  const partition = new Partition(population.holders.length);
  for (const peer of byHolder) partition.divide(peer.id, holdersOf(peer, population));
  if (names !== undefined) partition.divide(peers.length, [world4, world6]);

  const pieces = cutIntoPieces(partition, population, byAddress, [...serviceAddresses.values()].flat());
  const finer = new PiecePartition(partition, pieces);
  for (const { id, meaning, needsAll } of byAddress) {
    if (meaning.is === "addresses") finer.divideByPrefix(id, meaning, needsAll);
    else if (meaning.is === "services") finer.divideByAddresses(id, serviceAddresses.get(id) ?? []);
  }
  const classes = finer.toClasses(peers.length, names !== undefined);
  return names === undefined ? classes : addNames(classes, peers, names);
}

/** What names tell of peers. */
export interface NamePeers {
  readonly compiled: CompiledNames;
  /** Of the pattern by which peers are known. */
  readonly numberOf: (pattern: Extract<PeerMeaning, { readonly is: "name" }>["pattern"]) => number;
}

function addNames(classes: Classes, peers: readonly NumberedPeer[], { compiled, numberOf }: NamePeers): Classes {
  const ofPattern = new Map<number, number[]>();
  for (const [number, patterns] of compiled.patternsOf.entries())
    for (const pattern of patterns) {
      const some = ofPattern.get(pattern) ?? [];
      ofPattern.set(pattern, some);
      some.push(classes.count + number - 1);
    }
  const ofPeer = classes.ofPeer.map((own, id) => {
    const meaning = peers[id]?.meaning;
    return meaning?.is === "name" ? (ofPattern.get(numberOf(meaning.pattern)) ?? []) : own;
  });
  return { ...classes, ofPeer };
}

type HolderMeaning = Exclude<PeerMeaning, { readonly is: "addresses" | "services" | "name" }>;

function isOfHolders(meaning: PeerMeaning): meaning is HolderMeaning {
  return meaning.is !== "addresses" && meaning.is !== "services" && meaning.is !== "name";
}

function holdersOf({ meaning, needsAll }: NumberedPeer, population: Population): readonly number[] {
  const meant = plainHoldersOf(meaning, population, needsAll ? "certain" : "perhaps");
  // Anybody but of IPv4 alone may have such an address.
  if (!needsAll && meant.some((holder) => holder !== world4)) meant.push(link6);
  const first = population.holders.length - 1;
  if (population.holders[first]?.is !== "several") return meant;
  const isMeant = new Set(meant);
  const several = population.holders.flatMap(({ claimants }, holder) => {
    if (claimants.length === 0) return [];
    const is = (claimant: number): boolean => isMeant.has(claimant);
    return (needsAll ? claimants.every(is) : claimants.some(is)) ? [holder] : [];
  });
  return [...meant, ...several];
}

function plainHoldersOf(
  meaning: PeerMeaning,
  { holders, pods, nodes, podHolders, nodeHolders }: Population,
  how: "perhaps" | "certain",
): number[] {
  switch (meaning.is) {
    case "pods":
      return pods.select(meaning.where, how).map((number) => podHolders[number] ?? world4);
    case "nodes":
      return nodes.select(meaning.where).map((number) => nodeHolders[number] ?? world4);
    case "port":
      return holders.flatMap(({ ports }, holder) => (ports.includes(meaning.port) ? [holder] : []));
    case "entity":
      return holders.flatMap(({ is }, holder) => (isEntity(meaning.entity, is) ? [holder] : []));
    default:
      return [];
  }
}

function isEntity(entity: ServedEntity, is: Population["holders"][number]["is"]): boolean {
  switch (entity) {
    case "world":
      return is === "world4" || is === "world6";
    case "world-ipv4":
      return is === "world4";
    case "world-ipv6":
      return is === "world6";
    case "cluster":
      return is === "pod" || is === "this-node" || is === "node";
    case "host":
      return is === "this-node";
    case "remote-node":
      return is === "node";
  }
}

function cutIntoPieces(
  { blocks }: Partition,
  population: Population,
  peers: readonly NumberedPeer[],
  addresses: readonly AddressKey[],
): Pieces {
  const tellsWorld = peers.some(({ meaning }) => meaning.is === "addresses" && meaning.ofWorld);
  /** Of addresses by which nobody is told from the world around, there need be no piece. */
  const isTold = (key: AddressKey, holder: number): boolean => tellsWorld || blocks[holder] !== blocks[worldOf(key)];
  const further = new Set<string>();
  const add = ({ key, length }: KeyedPrefix): unknown => further.add(nameOf(key, length));
  add({ key: "4\0\0", length: 0 });
  add({ key: `6${"\0".repeat(8)}`, length: 0 });
  add(linkPrefix);
  for (const { meaning } of peers) {
    if (meaning.is !== "addresses") continue;
    add(meaning.prefix);
    for (const except of meaning.except) add(except);
  }
  for (const key of addresses) add({ key, length: widthOf(key) });
  return mergePieces(population, isTold, [...further].toSorted());
}

/** Known addresses that are told from the world, and those by `names`: both are ascending. */
function mergePieces(
  { addresses }: Population,
  isTold: (key: AddressKey, holder: number) => boolean,
  names: readonly string[],
): Pieces {
  const pieces = { keys: [] as AddressKey[], lengths: [] as number[], holders: [] as number[] };
  const put = (key: AddressKey, length: number, holder: number): void => {
    pieces.keys.push(key);
    pieces.lengths.push(length);
    pieces.holders.push(holder);
  };
  let at = 0;
  const putBefore = (end?: AddressKey): void => {
    for (; at < addresses.keys.length; at++) {
      const key = addresses.keys[at] ?? "";
      if (end !== undefined && key >= end) return;
      const holder = addresses.holderAt(at);
      if (isTold(key, holder)) put(key, widthOf(key), holder);
    }
  };
  for (const name of names) {
    const key = name.slice(0, -1);
    putBefore(key);
    const length = name.charCodeAt(name.length - 1);
    const isWhole = length === widthOf(key);
    const isKnown = isWhole && addresses.keys[at] === key;
    put(key, length, isKnown ? addresses.holderAt(at++) : worldOf(key, length));
  }
  putBefore();
  return pieces;
}

/** Whose it is where nobody is known to have it. */
function worldOf(key: AddressKey, length = widthOf(key)): number {
  if (key.startsWith("4")) return world4;
  return isOfLinks({ key, length }) ? link6 : world6;
}

function collectWithin(pieces: readonly number[], from: number, to: number, members: number[]): void {
  for (let index = lowerBound(pieces, from); (pieces[index] ?? to) < to; index++) members.push(pieces[index] ?? 0);
}

/** Sorts by key, then by length. */
function nameOf(key: AddressKey, length: number): string {
  return key + String.fromCharCode(length);
}

/** The pieces, divided first as their holders are. */
class PiecePartition {
  readonly #pieces: Pieces;
  readonly #partition: Partition;
  readonly #ofWorld: readonly number[];
  readonly #ofLink: readonly number[];

  constructor(holders: Partition, pieces: Pieces) {
    this.#pieces = pieces;
    this.#ofWorld = pieces.holders.flatMap((holder, at) => (holder === world4 || holder === world6 ? [at] : []));
    this.#ofLink = pieces.holders.flatMap((holder, at) => (holder === link6 ? [at] : []));
    this.#partition = holders.refined(pieces.holders);
  }

  /**
   * Whoever writes a prefix of all addresses means nobody whose address is of a link, unless that is what must not pass:
   * it may be a pod that is not meant.
   */
  divideByPrefix(
    set: number,
    { prefix, except, ofWorld }: Extract<PeerMeaning, { readonly is: "addresses" }>,
    needsAll: boolean,
  ): void {
    const withLinks = !needsAll || isOfLinks(prefix);
    const of = ofWorld ? [this.#ofWorld, ...(withLinks ? [this.#ofLink] : [])] : undefined;
    const [from, to] = this.#rangeOf(prefix);
    const holes = except.map((each) => this.#rangeOf(each)).toSorted(([a], [b]) => a - b);
    const members: number[] = [];
    let at = from;
    for (const [start, behind] of [...holes, [to, to] as const]) {
      const end = Math.min(start, to);
      if (of !== undefined) for (const each of of) collectWithin(each, at, end, members);
      else this.#collect(at, end, withLinks, members);
      at = Math.max(at, behind);
    }
    this.#partition.divide(set, members);
  }

  divideByAddresses(set: number, addresses: readonly AddressKey[]): void {
    const members = addresses.map((key) => this.#firstAtLeast(key, widthOf(key)));
    this.#partition.divide(set, members);
  }

  #collect(from: number, to: number, withLinks: boolean, members: number[]): void {
    for (let at = from; at < to; at++) if (withLinks || this.#pieces.holders[at] !== link6) members.push(at);
  }

  /** First piece inside the prefix, and the first behind it. */
  #rangeOf({ key, length }: KeyedPrefix): readonly [number, number] {
    return [this.#firstAtLeast(key, length), this.#firstAtLeast(lastOfPrefix(key, length), 0xffff)];
  }

  #firstAtLeast(key: AddressKey, length: number): number {
    const { keys, lengths } = this.#pieces;
    let at = lowerBound(keys, key);
    while (keys[at] === key && (lengths[at] ?? 0) < length) at++;
    return at;
  }

  toClasses(peerCount: number, worldIsFirst: boolean): Classes {
    const { keys, lengths } = this.#pieces;
    const { blocks } = this.#partition;
    const numbers = new Map<number, number>();
    const classAt = (at: number): number => {
      const block = blocks[at] ?? 0;
      const known = numbers.get(block);
      if (known !== undefined) return known;
      numbers.set(block, numbers.size);
      return numbers.size - 1;
    };
    if (worldIsFirst) for (const at of this.#ofWorld) classAt(at);
    const ofWorld = numbers.size;
    const addresses: ClassedPrefix[] = [];
    const roots: Record<string, number> = {};
    /** The pieces that hold the present one, shortest first. */
    const around: { readonly last: AddressKey; readonly class: number }[] = [];
    for (const [at, key] of keys.entries()) {
      const length = lengths[at] ?? 0;
      while (around.length > 0 && (around.at(-1)?.last ?? "") < key) around.pop();
      const outer = around.at(-1);
      const own = classAt(at);
      if (length === 0) roots[key.slice(0, 1)] = own;
      else if (outer?.class !== own)
        addresses.push({ bytes: bytesOfKey(key), length: length + (key.startsWith("4") ? 96 : 0), class: own });
      if (length < widthOf(key)) around.push({ last: lastOfPrefix(key, length), class: own });
    }
    const ofPeer = Array.from({ length: peerCount }, (): number[] => []);
    for (const [block, number] of numbers) for (const peer of this.#partition.setsOf(block)) ofPeer[peer]?.push(number);
    const unknown = { ipv4: roots["4"] ?? 0, ipv6: roots["6"] ?? 0 };
    return { count: numbers.size, ofWorld, unknown, addresses, ofPeer };
  }
}
