import assert from "node:assert/strict";
import { test } from "node:test";
import type { FeatureInstance } from "@bpfleet/kernel";
import type { FilterIntent, FilterMapRef, Prefix } from "./intent.ts";
import { planFilter } from "./plan.ts";
import { reasonNames } from "./reasons.ts";
import { judgeByReference, type ReferenceDecision, type ReferencePlace, type ReferenceRules } from "./reference.ts";
import { LoadedFilter, TestMaps, facts } from "./testing/loaded-filter.ts";
import * as make from "./testing/packets.ts";

const object = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "filter" };
const origin = { object, path: "" };

const places: Readonly<Record<string, { at: FilterIntent["at"]; direction: "ingress" | "egress"; pass: number }>> = {
  filter_xdp: { at: { hook: "xdp", interface: "v0" }, direction: "ingress", pass: 2 },
  filter_ingress: { at: { hook: "tc-ingress", interface: "v0" }, direction: "ingress", pass: -1 },
  filter_egress: { at: { hook: "tc-egress", interface: "v0" }, direction: "egress", pass: -1 },
  filter_cg_in: { at: { hook: "cgroup", pods: [], directions: ["ingress"] }, direction: "ingress", pass: 1 },
  filter_cg_out: { at: { hook: "cgroup", pods: [], directions: ["egress"] }, direction: "egress", pass: 1 },
};

/** A declaration with its meaning for the reference. */
interface Declaration {
  readonly intent: FilterIntent;
  readonly rules: ReferenceRules;
}

function declare(at: FilterIntent["at"], list: readonly Prefix[], maps: readonly MapContent[]): Declaration {
  const intent: FilterIntent = {
    feature: "filter",
    origin,
    at,
    priority: 10,
    blacklist: { origin, entries: list.map((prefix, index) => ({ prefix, text: `entry ${index}`, origin })) },
    isStateful: false,
    maps: maps.map(({ family }, index): FilterMapRef => ({ mapKey: `maps/default/map${index}`, family, origin })),
  };
  return { intent, rules: { list, maps: maps.map(({ entries }) => entries) } };
}

interface MapContent {
  readonly family: 4 | 6;
  readonly entries: ReferenceRules["maps"][number];
}

const definitions = {
  4: { type: "lpm_trie", keySize: 8, valueSize: 4, maxEntries: 64, flags: 1 },
  6: { type: "lpm_trie", keySize: 20, valueSize: 4, maxEntries: 64, flags: 1 },
} as const;

/** The program for a declaration, its maps filled, to be run dry. */
async function load(
  entry: string,
  { intent }: Declaration,
  contents: readonly MapContent[],
  open: AsyncDisposableStack,
) {
  const plan = planFilter([intent], facts);
  const maps = open.use(new TestMaps());
  for (const [index, { family, entries }] of contents.entries()) {
    const key = `maps/default/map${index}`;
    const map = await maps.get({ key, name: "live", definition: definitions[family], contents: { kind: "live" } });
    for (const { bytes, length, value } of entries) {
      map.setRaw(
        Buffer.concat([Buffer.from(Uint32Array.of(length).buffer), bytes]),
        Buffer.from(Uint32Array.of(value).buffer),
      );
    }
  }
  const spec = plan.programs.find((program) => program.entry === entry)!;
  const filter = open.use(await LoadedFilter.load(spec, plan, maps, { dry_run: true }));
  return { filter, instance: plan.instances[0]! };
}

/** What the kernel decided, in the words of the reference. */
async function decide(filter: LoadedFilter, instance: FeatureInstance, packet: Buffer, pass: number) {
  const { verdict } = await filter.run(packet);
  const explained = filter.explained();
  const rule = instance.rules.find(({ index }) => index === explained.rule);
  assert.equal(verdict === pass, explained.verdict === 0, "the verdict is the hook's code for what was decided");
  return { verdict: verdict === pass ? "pass" : "drop", reason: reasonNames.get(explained.reason) ?? "?", rule };
}

const forms: readonly (readonly [name: string, reason: string, packet: Buffer])[] = [
  ["UDP in IPv4", "allowed", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp()))],
  ["UDP in IPv6", "allowed", make.ethernet(make.ETH_IPV6, make.ipv6(make.udp()))],
  ["one VLAN tag", "allowed", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp()), 1)],
  ["two VLAN tags", "allowed", make.ethernet(make.ETH_IPV6, make.ipv6(make.udp()), 2)],
  ["three VLAN tags", "malformed_vlan_depth", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp()), 3)],
  ["a cut VLAN tag", "malformed_vlan", make.ethernet(make.ETH_IPV4, [], 1).subarray(0, 16)],
  ["ARP", "not_ip", make.ethernet(0x0806, new Uint8Array(28))],
  ["an LLC frame", "not_ip", make.ethernet(0x0026, new Uint8Array(38))],
  ["ARP behind a tag", "not_ip", make.ethernet(0x0806, new Uint8Array(28), 1)],
  ["nothing behind the ethertype", "malformed_ipv4_truncated", make.ethernet(make.ETH_IPV4, [])],
  ["nothing behind a tag", "malformed_ipv4_truncated", make.ethernet(make.ETH_IPV4, [], 1)],
  [
    "39 bytes of IPv6 behind a tag",
    "malformed_ipv6_truncated",
    make.ethernet(make.ETH_IPV6, make.ipv6([]).slice(0, 39), 1),
  ],
  ["19 bytes of IPv4", "malformed_ipv4_truncated", make.ethernet(make.ETH_IPV4, make.ipv4([]).slice(0, 19))],
  [
    "IPv4 options",
    "allowed",
    make.ethernet(make.ETH_IPV4, make.ipv4(make.tcp(), { protocol: 6, options: [7, 7, 4, 0, 0, 0, 0, 0] })),
  ],
  [
    "40 bytes of IPv4 options",
    "allowed",
    make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { options: Array.from({ length: 40 }, () => 1) })),
  ],
  ["version 5 as IPv4", "malformed_ipv4_version", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { version: 5 }))],
  ["header length 16", "malformed_ipv4_ihl", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { ihl: 4 }))],
  [
    "header length beyond the packet",
    "malformed_ipv4_ihl",
    make.ethernet(make.ETH_IPV4, make.ipv4([1, 2], { ihl: 15 })),
  ],
  [
    "total length below the header's",
    "malformed_ipv4_length",
    make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { totalLength: 19 })),
  ],
  [
    "total length beyond the packet",
    "malformed_ipv4_length",
    make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { totalLength: 200 })),
  ],
  [
    "bytes behind the datagram",
    "allowed",
    make.ethernet(make.ETH_IPV4, [...make.ipv4(make.udp([])), ...new Uint8Array(18)]),
  ],
  ["total length 0", "malformed_ipv4_length", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { totalLength: 0 }))],
  ["39 bytes of IPv6", "malformed_ipv6_truncated", make.ethernet(make.ETH_IPV6, make.ipv6([]).slice(0, 39))],
  ["version 4 as IPv6", "malformed_ipv6_version", make.ethernet(make.ETH_IPV6, make.ipv6(make.udp(), { version: 4 }))],
  [
    "payload length beyond the packet",
    "malformed_ipv6_length",
    make.ethernet(make.ETH_IPV6, make.ipv6(make.udp(), { payloadLength: 99 })),
  ],
  ["no next header", "allowed", make.ethernet(make.ETH_IPV6, make.ipv6([], { next: 59 }))],
  ["an unknown protocol", "allowed", make.ethernet(make.ETH_IPV4, make.ipv4([1], { protocol: 253 }))],
  [
    "19 bytes of TCP",
    "malformed_tcp",
    make.ethernet(make.ETH_IPV4, make.ipv4(make.tcp().slice(0, 19), { protocol: 6 })),
  ],
  ["TCP data offset 4", "malformed_tcp", make.ethernet(make.ETH_IPV4, make.ipv4(make.tcp([], {}, 4), { protocol: 6 }))],
  [
    "TCP data offset beyond the packet",
    "malformed_tcp",
    make.ethernet(make.ETH_IPV6, make.ipv6(make.tcp([], {}, 9).slice(0, 30), { next: 6 })),
  ],
  ["7 bytes of UDP", "malformed_udp", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp().slice(0, 7)))],
  ["UDP length 7", "malformed_udp", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp([], {}, 7)))],
  ["UDP length beyond the packet", "malformed_udp", make.ethernet(make.ETH_IPV6, make.ipv6(make.udp([], {}, 20)))],
  ["UDP length below the packet's", "allowed", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp([1, 2, 3, 4], {}, 10)))],
  [
    "7 bytes of ICMP",
    "malformed_icmp",
    make.ethernet(make.ETH_IPV4, make.ipv4(make.icmp().slice(0, 7), { protocol: 1 })),
  ],
  [
    "7 bytes of ICMPv6",
    "malformed_icmp",
    make.ethernet(make.ETH_IPV6, make.ipv6(make.icmp(128).slice(0, 7), { next: 58 })),
  ],
  ["ICMPv6 in IPv4", "allowed", make.ethernet(make.ETH_IPV4, make.ipv4([1], { protocol: 58 }))],
];

function inChain(extensions: readonly make.Extension[], next: number, payload: make.Bytes): Buffer {
  const { next: first, bytes } = make.chain(extensions, next, payload);
  return make.ethernet(make.ETH_IPV6, make.ipv6(bytes, { next: first }));
}

const { hopByHop, routing, fragment, authentication, destination } = make.extension;
const part = (bits: number, payload: make.Bytes, protocol = 17): Buffer =>
  make.ethernet(make.ETH_IPV4, make.ipv4(payload, { fragment: bits, protocol }));
const more = 0x2000;
const chains: typeof forms = [
  [
    "hop-by-hop, routing, destination",
    "allowed",
    inChain([{ kind: hopByHop }, { kind: routing, length: 2 }, { kind: destination }], 17, make.udp()),
  ],
  ["authentication", "allowed", inChain([{ kind: authentication, length: 4 }], 6, make.tcp())],
  ["mobility, HIP, shim6", "allowed", inChain([{ kind: 135 }, { kind: 139 }, { kind: 140 }], 17, make.udp())],
  [
    "eight extension headers",
    "allowed",
    inChain(
      Array.from({ length: 8 }, () => ({ kind: destination })),
      17,
      make.udp(),
    ),
  ],
  [
    "nine extension headers",
    "malformed_ipv6_chain",
    inChain(
      Array.from({ length: 9 }, () => ({ kind: destination })),
      17,
      make.udp(),
    ),
  ],
  ["an extension header of 2,048 bytes", "allowed", inChain([{ kind: destination, length: 255 }], 17, make.udp())],
  [
    "a cut extension header",
    "malformed_ipv6_extension",
    make.ethernet(make.ETH_IPV6, make.ipv6([17, 0, 0, 0], { next: destination })),
  ],
  [
    "an extension header beyond the payload",
    "malformed_ipv6_extension",
    make.ethernet(make.ETH_IPV6, make.ipv6([17, 9, 0, 0, 0, 0, 0, 0], { next: hopByHop })),
  ],
  ["an extension header and no transport", "malformed_udp", inChain([{ kind: hopByHop }], 17, [])],
  ["ESP", "allowed", inChain([{ kind: hopByHop }], 50, [1, 2, 3])],
  ["an atomic fragment", "allowed", inChain([{ kind: fragment }], 17, make.udp())],
  ["an atomic fragment with bad UDP", "malformed_udp", inChain([{ kind: fragment }], 17, make.udp([], {}, 99))],
  ["a first fragment", "allowed", inChain([{ kind: fragment, more: true }], 17, make.udp(new Uint8Array(8), {}, 900))],
  ["a later fragment", "allowed", inChain([{ kind: fragment, offset: 1232 }], 17, [1, 2, 3])],
  [
    "a later fragment whose next header is an extension",
    "allowed",
    inChain([{ kind: fragment, offset: 64 }], destination, [1, 2, 3]),
  ],
  [
    "a first fragment without its transport header",
    "malformed_fragment",
    inChain([{ kind: fragment, more: true }], 6, make.tcp().slice(0, 16)),
  ],
  [
    "two fragment headers",
    "malformed_fragment",
    inChain(
      [
        { kind: fragment, more: true },
        { kind: fragment, more: true },
      ],
      17,
      make.udp(new Uint8Array(8)),
    ),
  ],
  [
    "a fragment that is not a multiple of 8",
    "malformed_fragment",
    inChain([{ kind: fragment, offset: 64, more: true }], 17, [1, 2, 3]),
  ],
  ["an empty fragment", "malformed_fragment", inChain([{ kind: fragment, offset: 64 }], 17, [])],
  [
    "a fragment that ends beyond 65,535",
    "malformed_fragment",
    inChain([{ kind: fragment, offset: 65528 }], 17, new Uint8Array(8)),
  ],
  ["a TCP fragment at offset 8", "malformed_fragment", inChain([{ kind: fragment, offset: 8 }], 6, new Uint8Array(16))],
  ["IPv4: a first fragment", "allowed", part(more, make.udp(new Uint8Array(16), {}, 900))],
  ["IPv4: a later fragment", "allowed", part(150, [1, 2, 3])],
  ["IPv4: don't fragment", "allowed", part(0x4000, make.udp())],
  ["IPv4: a first fragment without its transport header", "malformed_fragment", part(more, make.tcp().slice(0, 16), 6)],
  ["IPv4: a first fragment with cut TCP options", "allowed", part(more, make.tcp([], {}, 15).slice(0, 24), 6)],
  ["IPv4: a fragment that is not a multiple of 8", "malformed_fragment", part(more | 150, [1, 2, 3])],
  ["IPv4: an empty fragment", "malformed_fragment", part(150, [])],
  ["IPv4: a fragment that ends beyond 65,535", "malformed_fragment", part(0x1fff, new Uint8Array(9))],
  ["IPv4: a TCP fragment at offset 8", "malformed_fragment", part(1, new Uint8Array(16), 6)],
];

test("filter_xdp, filter_ingress and filter_egress decide every form of packet by its own reason, and the reference agrees", async () => {
  for (const entry of ["filter_xdp", "filter_ingress", "filter_egress"] as const) {
    await using open = new AsyncDisposableStack();
    const { at, direction, pass } = places[entry]!;
    const declaration = declare(at, [{ family: 4, bytes: make.v4("192.0.2.0"), length: 24 }], []);
    const { filter, instance } = await load(entry, declaration, [], open);
    for (const [name, reason, packet] of [...forms, ...chains]) {
      if (entry !== "filter_xdp" && isRefused(packet)) continue;
      assert.equal((await decide(filter, instance, packet, pass)).reason, reason, `${entry}: ${name}`);
      const place: ReferencePlace = { startsAt: "ethernet", direction };
      assert.equal(judgeByReference(packet, declaration.rules, place).reason, reason, `reference: ${name}`);
    }
  }
});

function randomPrefix(random: (below: number) => number, family: 4 | 6): Prefix {
  const bytes = Uint8Array.from({ length: family === 4 ? 4 : 16 }, () => random(256));
  // Close together, so that prefixes nest.
  bytes[0] = family === 4 ? 10 + random(2) : 0x20;
  bytes[1] = random(3);
  if (random(2) === 0) bytes.fill(random(2), 2, random(bytes.length - 1) + 2);
  const length = random(8) === 0 ? random(9) : 8 + random(bytes.length * 8 - 7);
  return {
    family,
    length,
    bytes: bytes.map((byte, at) => byte & (0xff00 >> Math.max(0, Math.min(8, length - at * 8)))),
  };
}

function randomMap(random: (below: number) => number, family: 4 | 6): MapContent {
  const entries = Array.from({ length: random(12) }, () => ({ ...randomPrefix(random, family), value: random(3) }));
  const distinct = new Map(entries.map((entry) => [`${entry.bytes.join(".")}/${entry.length}`, entry]));
  return { family, entries: [...distinct.values()] };
}

/** A third of the addresses lies in one of the prefixes. */
function addressesNear(
  random: (below: number) => number,
  prefixes: readonly { bytes: Uint8Array; length: number }[],
): make.Addresses {
  const pick = (family: 4 | 6): Uint8Array => {
    const size = family === 4 ? 4 : 16;
    const near = prefixes.filter(({ bytes }) => bytes.length === size);
    const base = random(3) === 0 ? near[random(near.length + 1)] : undefined;
    const bytes = Uint8Array.from({ length: size }, () => random(256));
    if (base === undefined) return random(4) > 0 ? bytes : randomPrefix(random, family).bytes;
    return bytes.map((byte, at) => {
      const mask = 0xff >> Math.max(0, Math.min(8, base.length - at * 8));
      return (base.bytes[at] ?? 0) | (byte & mask);
    });
  };
  return { source: pick, destination: pick };
}

/** As a cgroup's program gets it; the kernel has read the ethertype. */
function withoutLink(frame: Buffer): [Buffer, ReferencePlace["startsAt"]] {
  const family = ({ [make.ETH_IPV4]: 4, [make.ETH_IPV6]: 6 } as const)[frame.readUInt16BE(12)] ?? 0;
  return [frame.subarray(14), { family }];
}

function expectedText({ reason, match }: ReferenceDecision): string | undefined {
  return match === undefined ? undefined : reason === "blacklist" ? `entry ${match}` : `map default/map${match}`;
}

/** The kernel makes no skb of an untagged frame that ends inside its fixed IP header. */
function isRefused(frame: Buffer): boolean {
  const least = { [make.ETH_IPV4]: 34, [make.ETH_IPV6]: 54 }[frame.readUInt16BE(12)] ?? 14;
  return frame.length < least;
}

const pairs = {
  filter_xdp: 60_000,
  filter_ingress: 15_000,
  filter_egress: 15_000,
  filter_cg_in: 10_000,
  filter_cg_out: 10_000,
} as const;
const perDeclaration = 1000;

for (const [entry, count] of Object.entries(pairs)) {
  test(`${entry} decides ${count} random packets under random declarations as the reference does`, async () => {
    const { at, direction, pass } = places[entry]!;
    const random = make.seededRandom(count);
    const seen = { pass: 0, drop: 0 };
    const reasons = new Set<string>();
    for (let done = 0; done < count; done += perDeclaration) {
      await using open = new AsyncDisposableStack();
      const list = Array.from({ length: random(40) }, () => randomPrefix(random, random(2) === 0 ? 4 : 6));
      const contents = Array.from({ length: random(3) }, () => randomMap(random, random(2) === 0 ? 4 : 6));
      const declaration = declare(at, list, contents);
      const { filter, instance } = await load(entry, declaration, contents, open);
      const addresses = addressesNear(random, [...list, ...contents.flatMap(({ entries }) => entries)]);
      for (let packet = 0; packet < perDeclaration; packet++) {
        const frame = make.randomPacket(random, addresses, at.hook === "cgroup" ? 0 : 3);
        if (at.hook !== "xdp" && isRefused(frame)) continue;
        const [bytes, startsAt] = at.hook === "cgroup" ? withoutLink(frame) : [frame, "ethernet" as const];
        const expected = judgeByReference(bytes, declaration.rules, { startsAt, direction });
        const { verdict, reason, rule } = await decide(filter, instance, frame, pass);
        const isSame =
          verdict === expected.verdict && reason === expected.reason && rule?.text === expectedText(expected);
        if (!isSame) {
          const told = `${frame.toString("hex")} under ${JSON.stringify(declaration.rules)}`;
          assert.deepEqual({ verdict, reason, text: rule?.text }, { ...expected, text: expectedText(expected) }, told);
        }
        seen[expected.verdict]++;
        reasons.add(expected.reason);
      }
    }
    for (const verdict of ["pass", "drop"] as const) {
      assert.ok(seen[verdict] / count >= 0.3, `${verdict}: ${seen[verdict]} of ${count}`);
    }
    assert.ok(reasons.size >= (at.hook === "cgroup" ? 12 : 16), [...reasons].join(" "));
  });
}
