/**
 * What the filter must decide, written from README.md as plainly as can be: for tests, to be compared
 * with the program in the kernel. It shares no code with the compiler of lists or the programs.
 */

export interface ReferenceRules {
  /** Own list, in order of declaration. */
  readonly list: readonly ReferencePrefix[];
  /** Maps in the order in which they are asked. */
  readonly maps: readonly (readonly (ReferencePrefix & { readonly value: number })[])[];
}

export interface ReferencePrefix {
  /** 4 or 16 bytes, network order. */
  readonly bytes: Uint8Array;
  readonly length: number;
}

export interface ReferencePlace {
  /** Without link header the kernel tells what the packet is: 0 is neither. */
  readonly startsAt: "ethernet" | { readonly family: 4 | 6 | 0 };
  readonly direction: "ingress" | "egress";
}

export interface ReferenceDecision {
  readonly verdict: "pass" | "drop";
  readonly reason: string;
  /** Index into `list` for reason blacklist, into `maps` for blacklist_map. */
  readonly match?: number;
}

/** Everything but the rate limit, marks and replies, which depend on more than one packet. */
export function judgeByReference(packet: Uint8Array, rules: ReferenceRules, place: ReferencePlace): ReferenceDecision {
  try {
    return judge(packet, rules, place);
  } catch (error) {
    if (error instanceof Malformed) return { verdict: "drop", reason: `malformed_${error.form}` };
    throw error;
  }
}

class Malformed extends Error {
  readonly form: string;

  constructor(form: string) {
    super(form);
    this.form = form;
  }
}

interface Datagram {
  readonly family: 4 | 6;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** What the network header says belongs to the datagram, options and fixed header left out. */
  readonly payload: Uint8Array;
  readonly protocol: number;
  /** IPv4 only. */
  readonly fragment: Fragment | undefined;
}

interface Fragment {
  readonly offset: number;
  readonly hasMore: boolean;
}

function judge(packet: Uint8Array, rules: ReferenceRules, { startsAt, direction }: ReferencePlace): ReferenceDecision {
  const carried = startsAt === "ethernet" ? openFrame(packet) : { family: startsAt.family, bytes: packet };
  if (carried.family === 0) return { verdict: "pass", reason: "not_ip" };
  const datagram = carried.family === 4 ? openIpv4(carried.bytes) : openIpv6(carried.bytes);
  const remote = direction === "ingress" ? datagram.source : datagram.destination;
  const listed = longest(rules.list, remote);
  if (listed >= 0) return { verdict: "drop", reason: "blacklist", match: listed };
  const blocking = rules.maps.findIndex((map) => map[longest(map, remote)]?.value === 1);
  if (blocking >= 0) return { verdict: "drop", reason: "blacklist_map", match: blocking };
  checkRest(datagram);
  return { verdict: "pass", reason: "allowed" };
}

function openFrame(frame: Uint8Array): { family: 4 | 6 | 0; bytes: Uint8Array } {
  if (frame.length < 14) throw new Malformed("ethernet");
  let at = 12;
  for (let tags = 0; ; tags++) {
    const ethertype = number16(frame, at);
    at += 2;
    if (ethertype === 0x0800) return { family: 4, bytes: frame.subarray(at) };
    if (ethertype === 0x86dd) return { family: 6, bytes: frame.subarray(at) };
    if (ethertype !== 0x8100 && ethertype !== 0x88a8) return { family: 0, bytes: frame };
    if (tags === 2) throw new Malformed("vlan_depth");
    if (frame.length < at + 4) throw new Malformed("vlan");
    at += 2;
  }
}

function openIpv4(bytes: Uint8Array): Datagram {
  if (bytes.length < 20) throw new Malformed("ipv4_truncated");
  const first = bytes[0] ?? 0;
  if (first >> 4 !== 4) throw new Malformed("ipv4_version");
  const header = (first % 16) * 4;
  if (header < 20 || header > bytes.length) throw new Malformed("ipv4_ihl");
  const total = number16(bytes, 2);
  if (total < header || total > bytes.length) throw new Malformed("ipv4_length");
  const flags = number16(bytes, 6);
  const fragment = { offset: (flags & 0x1fff) * 8, hasMore: (flags & 0x2000) !== 0 };
  return {
    family: 4,
    source: bytes.subarray(12, 16),
    destination: bytes.subarray(16, 20),
    payload: bytes.subarray(header, total),
    protocol: bytes[9] ?? 0,
    fragment: fragment.offset > 0 || fragment.hasMore ? fragment : undefined,
  };
}

function openIpv6(bytes: Uint8Array): Datagram {
  if (bytes.length < 40) throw new Malformed("ipv6_truncated");
  if ((bytes[0] ?? 0) >> 4 !== 6) throw new Malformed("ipv6_version");
  const length = number16(bytes, 4);
  if (40 + length > bytes.length) throw new Malformed("ipv6_length");
  return {
    family: 6,
    source: bytes.subarray(8, 24),
    destination: bytes.subarray(24, 40),
    payload: bytes.subarray(40, 40 + length),
    protocol: bytes[6] ?? 0,
    fragment: undefined,
  };
}

/** Index of the longest prefix that holds the address, the first of equal ones; -1 if none does. */
function longest(prefixes: readonly ReferencePrefix[], address: Uint8Array): number {
  let best = -1;
  for (const [index, prefix] of prefixes.entries()) {
    if (prefix.bytes.length !== address.length || !isIn(prefix, address)) continue;
    if (best < 0 || prefix.length > (prefixes[best]?.length ?? 0)) best = index;
  }
  return best;
}

function isIn({ bytes, length }: ReferencePrefix, address: Uint8Array): boolean {
  for (let bit = 0; bit < length; bit++) {
    const at = bit >> 3;
    const weight = 128 >> (bit & 7);
    if (((bytes[at] ?? 0) & weight) !== ((address[at] ?? 0) & weight)) return false;
  }
  return true;
}

const ordinaryExtensions = new Set([0, 43, 60, 135, 139, 140]);
const authentication = 51;
const fragmentation = 44;

function checkRest(datagram: Datagram): void {
  let rest = datagram.payload;
  let protocol = datagram.protocol;
  let fragment = datagram.fragment;
  const headers: Fragment[] = [];
  if (datagram.family === 6) {
    for (let count = 0; ; count++) {
      const isLater = headers.some((each) => each.offset > 0);
      const isExtension = ordinaryExtensions.has(protocol) || protocol === authentication || protocol === fragmentation;
      if (isLater || !isExtension) break;
      if (count === 8) throw new Malformed("ipv6_chain");
      if (rest.length < 8) throw new Malformed("ipv6_extension");
      const size = extensionSize(protocol, rest[1] ?? 0);
      if (size > rest.length) throw new Malformed("ipv6_extension");
      if (protocol === fragmentation) {
        const bits = number16(rest, 2);
        headers.push({ offset: bits & 0xfff8, hasMore: (bits & 1) === 1 });
        fragment = headers[0];
        datagram = { ...datagram, payload: rest.subarray(8) };
      }
      protocol = rest[0] ?? 0;
      rest = rest.subarray(size);
    }
    if (headers.length > 1) throw new Malformed("fragment");
    if (fragment && fragment.offset === 0 && !fragment.hasMore) fragment = undefined;
  }
  if (fragment) checkFragment(datagram.payload.length, fragment, protocol);
  if (!fragment || fragment.offset === 0) checkTransport(datagram.family, protocol, rest, fragment !== undefined);
}

function extensionSize(kind: number, length: number): number {
  if (kind === fragmentation) return 8;
  return kind === authentication ? (length + 2) * 4 : (length + 1) * 8;
}

function checkFragment(size: number, { offset, hasMore }: Fragment, protocol: number): void {
  const isTiny = protocol === 6 && offset === 8;
  if (size === 0 || offset + size > 65535 || (hasMore && size % 8 !== 0) || isTiny) throw new Malformed("fragment");
}

/** `isPart`: the first fragment, whose length fields speak of the whole datagram. */
function checkTransport(family: 4 | 6, protocol: number, bytes: Uint8Array, isPart: boolean): void {
  const name =
    protocol === 6 ? "tcp" : protocol === 17 ? "udp" : protocol === (family === 4 ? 1 : 58) ? "icmp" : undefined;
  if (name === undefined) return;
  if (bytes.length < (name === "tcp" ? 20 : 8)) throw new Malformed(isPart ? "fragment" : name);
  if (name === "icmp") return;
  const [length, least] = name === "tcp" ? [((bytes[12] ?? 0) >> 4) * 4, 20] : [number16(bytes, 4), 8];
  if (length < least || (!isPart && length > bytes.length)) throw new Malformed(name);
}

function number16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
}
