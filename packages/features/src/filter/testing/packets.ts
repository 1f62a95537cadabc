/** Packets for tests, header by header: right ones, and ones that are wrong in a chosen or random way. */

export type Bytes = readonly number[] | Uint8Array;

export const be16 = (value: number): number[] => [(value >> 8) & 255, value & 255];
const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);

export const v4 = (text: string): Uint8Array => Uint8Array.from(text.split(".").map(Number));

/** `2001:db8::1` */
export function v6(text: string): Uint8Array {
  const [head = "", tail = ""] = text.split("::");
  const groups = (part: string): number[] => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const [first, last] = [groups(head), groups(tail)];
  const middle = text.includes("::") ? zeros(8 - first.length - last.length) : [];
  return Uint8Array.from([...first, ...middle, ...last].flatMap(be16));
}

export const ETH_IPV4 = 0x0800;
export const ETH_IPV6 = 0x86dd;

/** An Ethernet frame with the given tags (802.1ad outside, 802.1Q inside). */
export function ethernet(ethertype: number, payload: Bytes, tags = 0): Buffer {
  const types = Array.from({ length: tags }, (_, at) => (at < tags - 1 ? 0x88a8 : 0x8100));
  const header = [
    ...zeros(5),
    1,
    ...zeros(5),
    2,
    ...[...types, ethertype].flatMap((type, at) => (at === 0 ? be16(type) : [0, 9, ...be16(type)])),
  ];
  return Buffer.from([...header, ...payload]);
}

export interface Ipv4Options {
  readonly source?: Uint8Array;
  readonly destination?: Uint8Array;
  readonly protocol?: number;
  /** Whole words of four bytes. */
  readonly options?: readonly number[];
  readonly tos?: number;
  /** Flags and offset as one number. */
  readonly fragment?: number;
  readonly version?: number;
  readonly ihl?: number;
  readonly totalLength?: number;
}

export function ipv4(payload: Bytes, given: Ipv4Options = {}): number[] {
  const options = given.options ?? [];
  const ihl = given.ihl ?? 5 + options.length / 4;
  const header = [
    ((given.version ?? 4) << 4) | ihl,
    given.tos ?? 0,
    ...be16(given.totalLength ?? 20 + options.length + payload.length),
    0,
    1,
    ...be16(given.fragment ?? 0),
    64,
    given.protocol ?? 17,
    0,
    0,
    ...(given.source ?? v4("10.0.0.1")),
    ...(given.destination ?? v4("10.0.0.2")),
    ...options,
  ];
  return [...header.with(10, checksum(header) >> 8).with(11, checksum(header) & 255), ...payload];
}

/** Of a header whose checksum field is 0. */
export function checksum(header: readonly number[]): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += (header[at] ?? 0) * 256 + (header[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export interface Ipv6Options {
  readonly source?: Uint8Array;
  readonly destination?: Uint8Array;
  readonly next?: number;
  readonly trafficClass?: number;
  readonly version?: number;
  readonly payloadLength?: number;
}

export function ipv6(payload: Bytes, given: Ipv6Options = {}): number[] {
  const trafficClass = given.trafficClass ?? 0;
  return [
    ((given.version ?? 6) << 4) | (trafficClass >> 4),
    (trafficClass & 15) << 4,
    0,
    0,
    ...be16(given.payloadLength ?? payload.length),
    given.next ?? 17,
    64,
    ...(given.source ?? v6("2001:db8::1")),
    ...(given.destination ?? v6("2001:db8::2")),
    ...payload,
  ];
}

/** A header that the IPv6 header's `next` leads to; the rest of the chain follows it. */
export interface Extension {
  readonly kind: number;
  /** The length field; 0 where there is none. */
  readonly length?: number;
  /** A fragment header's offset (bytes) and "more". */
  readonly offset?: number;
  readonly more?: boolean;
}

export const extension = {
  hopByHop: 0,
  routing: 43,
  fragment: 44,
  authentication: 51,
  none: 59,
  destination: 60,
} as const;

/** The chain and what it leads to; returns the first `next` with the bytes. */
export function chain(
  extensions: readonly Extension[],
  next: number,
  payload: Bytes,
): { next: number; bytes: number[] } {
  let follows = { next, bytes: [...payload] };
  for (const each of extensions.toReversed()) {
    const length = each.length ?? (each.kind === extension.authentication ? 1 : 0);
    const isFragment = each.kind === extension.fragment;
    const size = isFragment ? 8 : each.kind === extension.authentication ? (length + 2) * 4 : (length + 1) * 8;
    const bits = (each.offset ?? 0) | (each.more ? 1 : 0);
    const rest = isFragment ? [...be16(bits), 0, 0, 0, 7] : zeros(Math.max(0, size - 2));
    follows = { next: each.kind, bytes: [follows.next, isFragment ? 0 : length, ...rest, ...follows.bytes] };
  }
  return follows;
}

export interface Ports {
  readonly source?: number;
  readonly destination?: number;
}

export function udp(
  payload: Bytes = zeros(12),
  { source = 4000, destination = 53 }: Ports = {},
  length = 8 + payload.length,
): number[] {
  return [...be16(source), ...be16(destination), ...be16(length), 0, 0, ...payload];
}

export function tcp(payload: Bytes = [], { source = 4000, destination = 80 }: Ports = {}, dataOffset = 5): number[] {
  const options = zeros(Math.max(0, dataOffset - 5) * 4);
  return [...be16(source), ...be16(destination), ...zeros(8), dataOffset << 4, 2, ...zeros(6), ...options, ...payload];
}

export function icmp(type = 8, id = 7): number[] {
  return [type, 0, 0, 0, ...be16(id), 0, 1, ...zeros(8)];
}

/** The same numbers for the same seed: mulberry32. */
export function seededRandom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export interface Addresses {
  source(family: 4 | 6): Uint8Array;
  destination(family: 4 | 6): Uint8Array;
}

const kinds = [0, 43, 44, 51, 60, 135, 139, 140] as const;

/** Any packet: usually right, one in four damaged in one place. */
export function randomPacket(random: (below: number) => number, addresses: Addresses, maxTags = 3): Buffer {
  const one = (chance: number): boolean => random(chance) === 0;
  const among = (values: readonly number[]): number => values[random(values.length)] ?? 0;
  const family = one(2) ? 4 : 6;
  const protocol = among([6, 17, family === 4 ? 1 : 58, 17, 6, 47]);
  const transport = randomTransport(protocol, random);
  const source = addresses.source(family);
  const destination = addresses.destination(family);
  let bytes: number[];
  if (family === 4) {
    const options = zeros(one(4) ? random(11) * 4 : 0);
    const fragment = one(8) ? (random(2) << 13) | among([0, 0, 1, 2, random(0x2000)]) : one(3) ? 0x4000 : 0;
    bytes = ipv4(transport, { source, destination, protocol, options, fragment, tos: random(256) });
  } else {
    const extensions = Array.from({ length: one(2) ? 0 : random(one(3) ? 11 : 3) }, (): Extension => {
      const kind = kinds[random(one(3) ? 8 : 2)] ?? 0;
      return { kind, length: random(4), offset: among([0, 0, 8, random(8192) * 8]), more: one(2) };
    });
    const { next, bytes: payload } = chain(extensions, one(8) ? 59 : protocol, transport);
    bytes = ipv6(payload, { source, destination, next, trafficClass: random(256) });
  }
  const ethertype = one(30)
    ? among([0x0806, 0x88cc, 0x0100, 0x8100])
    : one(40)
      ? ETH_IPV4
      : family === 4
        ? ETH_IPV4
        : ETH_IPV6;
  const tags = maxTags > 0 && one(3) ? random(maxTags + 1) : 0;
  const frame = ethernet(ethertype, [...bytes, ...zeros(one(4) ? random(20) : 0)], tags);
  return damage(frame, random);
}

function randomTransport(protocol: number, random: (below: number) => number): number[] {
  const payload = zeros(random(40));
  if (protocol === 6) return tcp(payload, { source: random(65536) }, 5 + (random(3) === 0 ? random(11) : 0));
  if (protocol === 17) return udp(payload, { source: random(65536) });
  return protocol === 47 ? payload : icmp([0, 8, 128, 129, 3][random(5)]);
}

function damage(frame: Buffer, random: (below: number) => number): Buffer {
  if (random(4) > 0) return frame;
  if (random(2) === 0) return frame.subarray(0, Math.max(14, random(frame.length)));
  const at = 12 + random(Math.min(frame.length - 12, 60));
  frame[at] = random(256);
  return frame;
}
