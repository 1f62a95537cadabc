/** What answers have taught, written into the maps of the programs as these would. */
import { bytesOfKey, parseAddressKey } from "../compile/address-key.ts";
import {
  encodeKnownName,
  encodeLearnt,
  encodeLearntKey,
  knownNameSize,
  learntKeySize,
  learntSize,
  policyLayout,
} from "../generated/policy.ts";

export interface TaughtName {
  readonly ifindex: number;
  readonly address: string;
  readonly name: string;
}

export interface NameEntries {
  readonly known: readonly (readonly [key: Uint8Array, value: Uint8Array])[];
  readonly learnt: readonly (readonly [key: Uint8Array, value: Uint8Array])[];
}

export function nameEntries(taught: readonly TaughtName[], untilNs: bigint): NameEntries {
  const names = new Set(taught.map(({ name }) => name));
  const addresses = Map.groupBy(taught, ({ ifindex, address }) => `${ifindex} ${address}`);
  return {
    known: [...names].map((name) => [wordBytes(hashOf(name)), knownName(name)]),
    learnt: [...addresses.values()].map((all) => {
      const hashes = all.map(({ name }) => hashOf(name));
      return [learntKey(all[0] as TaughtName), learntNames(hashes, untilNs)];
    }),
  };
}

function bytesOf(size: number, encode: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  encode(new DataView(bytes.buffer));
  return bytes;
}

function wordBytes(word: bigint): Uint8Array {
  return bytesOf(8, (view) => view.setBigUint64(0, word, true));
}

function textOf(name: string): Uint8Array {
  const text = new Uint8Array(256);
  text.set(new TextEncoder().encode(name));
  return text;
}

function knownName(name: string): Uint8Array {
  const value = { judged: 0n, length: name.length, unused: 0, text: textOf(name) };
  return bytesOf(knownNameSize, (view) => encodeKnownName(value, view));
}

function learntKey({ ifindex, address }: TaughtName): Uint8Array {
  const key = parseAddressKey(address);
  if (key === undefined) throw new RangeError(`no address: ${address}`);
  const words = new DataView(Uint8Array.from(bytesOfKey(key)).buffer);
  const [high, low] = [words.getBigUint64(0), words.getBigUint64(8)];
  return bytesOf(learntKeySize, (view) => encodeLearntKey({ ifindex, unused: 0, high, low }, view));
}

function learntNames(hashes: readonly bigint[], untilNs: bigint): Uint8Array {
  const names = Array.from({ length: policyLayout.learnt_names }, (_, at) => {
    const hash = hashes[at] ?? 0n;
    return { hash, untilNs: hash === 0n ? 0n : untilNs };
  });
  return bytesOf(learntSize, (view) => encodeLearnt({ names }, view));
}

/** As hash_name() in bpf/include/policy-dns-message.h. */
export function hashOf(name: string): bigint {
  const words = new DataView(textOf(name).buffer);
  let hash = BigInt(name.length);
  for (let at = 0; at < 256; at += 8) {
    hash = BigInt.asUintN(64, (hash ^ words.getBigUint64(at, true)) * 0x9e3779b97f4a7c15n);
    hash ^= hash >> 29n;
  }
  return hash | 1n;
}
