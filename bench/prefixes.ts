import { seededRandom } from "./programs.ts";

export const sourceCount = 4096;

export interface BenchPrefix {
  /** IPv4, host order, bits past `length` are 0. */
  readonly address: number;
  readonly length: number;
}

/** `count` prefixes of /24 to /32 that do not overlap; the same set in every run and for every peer. */
export function benchPrefixes(count: number): BenchPrefix[] {
  const random = seededRandom(count);
  const blocks = new Set<number>();
  const prefixes: BenchPrefix[] = [];
  while (prefixes.length < count) {
    const block = 0x0b0000 + (random() % 0xd00000);
    if (blocks.has(block)) continue;
    blocks.add(block);
    const length = 24 + (prefixes.length % 9);
    const mask = (0xffffffff << (32 - length)) >>> 0;
    prefixes.push({ address: (((block << 8) | (random() & 0xff)) & mask) >>> 0, length });
  }
  return prefixes;
}

/** 4,096 addresses, each inside one of the prefixes (or the only one of a set of one). */
export function listedSources(prefixes: readonly BenchPrefix[]): number[] {
  const random = seededRandom(7);
  return Array.from({ length: sourceCount }, () => {
    const { address, length } = prefixes[random() % prefixes.length] ?? { address: 0, length: 32 };
    return (address | (random() & (0xffffffff >>> length) & (length === 32 ? 0 : 0xffffffff))) >>> 0;
  });
}

/** 4,096 addresses below 10.0.0.0, where no prefix of the sets lies. */
export function unlistedSources(): number[] {
  const random = seededRandom(9);
  return Array.from({ length: sourceCount }, () => 0x01000000 + (random() % 0x08000000));
}

export function renderAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
}

/** As the values of the `sources` map: network order. */
export function packSources(addresses: readonly number[]): { keys: Uint8Array; values: Uint8Array } {
  const keys = new Uint8Array(sourceCount * 4);
  const values = new Uint8Array(sourceCount * 4);
  const [keyView, valueView] = [new DataView(keys.buffer), new DataView(values.buffer)];
  for (let index = 0; index < sourceCount; index++) {
    keyView.setUint32(index * 4, index, true);
    valueView.setUint32(index * 4, addresses[index % addresses.length] ?? 0, false);
  }
  return { keys, values };
}
