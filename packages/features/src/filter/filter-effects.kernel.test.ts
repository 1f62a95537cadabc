import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeEvent, encodeSampling, instanceIdOf, readLostEvents, type VerdictEvent } from "../events.ts";
import { filter as feature } from "./filter.ts";
import type { FilterMark } from "./intent.ts";
import { DeclaredFilter, origin, type Wish } from "./testing/declared-filter.ts";
import { TestMaps } from "./testing/loaded-filter.ts";
import * as make from "./testing/packets.ts";

const XDP_DROP = 1;
const XDP_PASS = 2;
const TCX_NEXT = -1;

const zero = Buffer.alloc(4);
const udp4 = (source: string, destination = "10.0.0.2"): Buffer =>
  make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { source: make.v4(source), destination: make.v4(destination) }));

/** What the twin says of a packet, in words. */
async function explain(filter: DeclaredFilter, packet: Buffer, readings = new Map()): Promise<string> {
  await filter.twin.run(packet);
  return feature.explanations!.explain(filter.instance, filter.twin.scratch(), readings).text;
}

const liveKey = "maps/default/blocked";
const liveSpec = {
  key: liveKey,
  name: "blocked",
  definition: { type: "lpm_trie", keySize: 8, valueSize: 4, maxEntries: 16, flags: 1 },
  contents: { kind: "live" },
} as const;

function entry(prefix: string): Buffer {
  const [address = "", length] = prefix.split("/");
  return Buffer.from([Number(length), 0, 0, 0, ...make.v4(address)]);
}

test("filter_xdp asks the live maps after its own list, and follows them at once", async () => {
  using maps = new TestMaps();
  const live = await maps.get(liveSpec);
  await using filter = await DeclaredFilter.load(
    { list: ["10.10.10.0/24"], maps: [{ mapKey: liveKey, family: 4, origin }] },
    maps,
  );
  const verdict = async (source: string): Promise<number> => (await filter.main.run(udp4(source))).verdict;
  assert.equal(await verdict("172.16.0.9"), XDP_PASS);
  live.setRaw(entry("172.16.0.0/16"), Buffer.from([1, 0, 0, 0]));
  assert.equal(await verdict("172.16.0.9"), XDP_DROP);
  live.setRaw(entry("172.16.0.0/28"), Buffer.from([0, 0, 0, 0]));
  assert.equal(await verdict("172.16.0.9"), XDP_PASS, "the longest prefix of the map says 0");
  assert.equal(await verdict("172.16.0.99"), XDP_DROP);
  live.setRaw(entry("10.10.10.0/24"), Buffer.from([1, 0, 0, 0]));
  assert.equal(await explain(filter, udp4("10.10.10.7")), "dropped: source 10.10.10.7 is in 10.10.10.0/24");
  const readings = new Map([["live4_a", await maps.read(liveKey)]]);
  assert.equal(
    await explain(filter, udp4("172.16.0.99"), readings),
    "dropped: source 172.16.0.99 is blocked by 172.16.0.0/16 in map default/blocked",
  );
  const { rules } = await filter.counters();
  assert.deepEqual(
    rules.map(({ rule, counter }) => [rule.text, counter.packets]),
    [
      ["10.10.10.0/24", 0n],
      ["map default/blocked", 2n],
    ],
  );
});

/** The buckets that are in use are full again in ten minutes only. */
async function keepEmpty(maps: TestMaps, key: string): Promise<void> {
  const [setBytes, wayBytes] = [128, 16];
  const values = Buffer.from((await maps.read(key)).values);
  const later = (process.hrtime.bigint() + 600_000_000_000n) * 16n;
  for (let at = 0; at < values.length; at += wayBytes) {
    if (values.readBigUInt64LE(at + 8) === 0n) continue;
    values.writeBigUInt64LE(later, at + 8);
    const set = Math.floor(at / setBytes);
    maps
      .find(key)
      .setRaw(Buffer.from(Uint32Array.of(set).buffer), values.subarray(set * setBytes, (set + 1) * setBytes));
  }
}

test("a dry run of filter_xdp changes no map", async () => {
  using maps = new TestMaps();
  const wish: Wish = { list: ["10.10.10.0/24"], packetsPerSecond: 5, isStateful: true };
  await using filter = await DeclaredFilter.load(wish, maps);
  maps.find("node/trace").setRaw(zero, encodeSampling({ every: 1, only: "all" }));
  await filter.main.run(udp4("192.0.2.1"));
  await keepEmpty(maps, "filter/default/filter/buckets");
  const before = await filter.contents();
  const texts = new Set<string>();
  for (const source of ["192.0.2.1", "192.0.2.2", "10.10.10.1"]) {
    for (let count = 0; count < 20; count++) texts.add(await explain(filter, udp4(source)));
  }
  assert.equal(await filter.contents(), before);
  assert.deepEqual(
    [...texts],
    [
      "dropped: source 192.0.2.1 is over 5 packets per second",
      "passed: source 192.0.2.2 is on no list and within 5 packets per second",
      "dropped: source 10.10.10.1 is in 10.10.10.0/24",
    ],
  );
});

const flows: readonly (readonly [name: string, out: Buffer, back: Buffer, other: Buffer])[] = [
  [
    "UDP",
    ...conversation(
      17,
      make.udp([], { source: 5000, destination: 53 }),
      make.udp([], { source: 53, destination: 5000 }),
      make.udp([], { source: 54, destination: 5000 }),
    ),
  ],
  [
    "TCP",
    ...conversation(
      6,
      make.tcp([], { source: 5000, destination: 80 }),
      make.tcp([], { source: 80, destination: 5000 }),
      make.tcp([], { source: 80, destination: 5001 }),
    ),
  ],
  ["ICMP echo", ...conversation(1, make.icmp(8, 77), make.icmp(0, 77), make.icmp(0, 78))],
];

/** From us to them, back, and something that answers nothing; over IPv4. */
function conversation(protocol: number, out: number[], back: number[], other: number[]): [Buffer, Buffer, Buffer] {
  const [us, them] = [make.v4("10.0.0.2"), make.v4("192.0.2.1")];
  const leaves = make.ethernet(make.ETH_IPV4, make.ipv4(out, { protocol, source: us, destination: them }));
  const arrives = (payload: number[]): Buffer =>
    make.ethernet(make.ETH_IPV4, make.ipv4(payload, { protocol, source: them, destination: us }));
  return [leaves, arrives(back), arrives(other)];
}

/** The same conversation over IPv6. */
function overIpv6(frame: Buffer): Buffer {
  const protocol = frame[23] === 1 ? 58 : (frame[23] ?? 0);
  const payload = [...frame.subarray(34)];
  if (protocol === 58) payload[0] = payload[0] === 8 ? 128 : 129;
  const widen = (at: number): Uint8Array =>
    Uint8Array.from([...make.v6("2001:db8::").subarray(0, 12), ...frame.subarray(at, at + 4)]);
  return make.ethernet(
    make.ETH_IPV6,
    make.ipv6(payload, { next: protocol, source: widen(26), destination: widen(30) }),
  );
}

for (const [name, ...packets] of [
  ...flows,
  ...flows.map(([name, ...rest]) => [`${name} in IPv6`, ...rest.map(overIpv6)] as const),
]) {
  test(`filter_xdp lets replies of ${name} pass the limit that filter_track has seen leave`, async () => {
    using maps = new TestMaps();
    await using filter = await DeclaredFilter.load({ packetsPerSecond: 1, isStateful: true }, maps);
    const [leaves, reply, other] = packets as [Buffer, Buffer, Buffer];
    await filter.main.run(reply, { repeat: 10 });
    assert.equal(await filter.packets("allowed"), 1, "nothing has left yet");
    assert.equal((await filter.tracker!.run(leaves)).verdict, TCX_NEXT);
    await filter.main.run(reply, { repeat: 10 });
    assert.equal(await filter.packets("reply"), 10);
    await filter.main.run(other, { repeat: 10 });
    assert.equal(await filter.packets("reply"), 10, "another flow is no reply");
    assert.equal((await filter.counters()).gauges["flow_count"], 1);
    assert.match(await explain(filter, reply), /^passed: it answers a flow that left by v0$/);
  });
}

test("filter_xdp drops a listed source also when it replies", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ list: ["192.0.2.1"], packetsPerSecond: 1, isStateful: true }, maps);
  const [, leaves, reply] = flows[0]!;
  await filter.tracker!.run(leaves);
  await filter.main.run(reply);
  assert.equal(await filter.packets("blacklist"), 1);
});

test("filter_xdp forgets a flow 300 seconds after its last packet", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ packetsPerSecond: 1, isStateful: true }, maps);
  const [, leaves, reply] = flows[0]!;
  await filter.tracker!.run(leaves);
  const map = maps.find("filter/default/filter/flows");
  const key = map.nextKeyRaw()!;
  const now = process.hrtime.bigint();
  for (const [ageSeconds, isKnown] of [
    [298n, true],
    [302n, false],
  ] as const) {
    map.setRaw(key, Buffer.from(BigUint64Array.of(BigInt.asUintN(64, now - ageSeconds * 1_000_000_000n)).buffer));
    const before = await filter.packets("reply");
    await filter.main.run(reply);
    assert.equal((await filter.packets("reply")) - before === 1, isKnown, `${ageSeconds} s`);
  }
});

/** Mark and priority of struct __sk_buff. */
function marksOf(ctx: Buffer): { mark: number; priority: number } {
  return { mark: ctx.readUInt32LE(8), priority: ctx.readUInt32LE(32) };
}

const marking = (
  mark: Omit<FilterMark, "origin" | "priorityFromDscp"> & { priorityFromDscp?: boolean },
  hook: "tc-ingress" | "tc-egress" = "tc-ingress",
): Wish => ({
  at: { hook, interface: "v0" },
  mark: { priorityFromDscp: false, ...mark, origin },
});

test("filter_ingress and filter_egress set the bits of the skb mark that the mask names", async () => {
  for (const hook of ["tc-ingress", "tc-egress"] as const) {
    using maps = new TestMaps();
    await using filter = await DeclaredFilter.load(marking({ skb: { value: 0x1234, mask: 0x0ff0 } }, hook), maps);
    const ctx = Buffer.alloc(192);
    ctx.writeUInt32LE(0xffff_000f, 8);
    const { ctx: out } = await filter.main.run(udp4("192.0.2.1"), { ctx });
    assert.equal(marksOf(out).mark, 0xffff_023f);
    const arp = await filter.main.run(make.ethernet(0x0806, new Uint8Array(28)), { ctx });
    assert.equal(marksOf(arp.ctx).mark, 0xffff_023f, "frames that are not IP are marked too");
  }
});

test("filter_ingress writes the DSCP, keeps ECN and the IPv4 checksum right", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load(marking({ dscp: 46, priorityFromDscp: true }), maps);
  for (const ecn of [0, 1, 2, 3]) {
    const header = { source: make.v4("192.0.2.1"), tos: (10 << 2) | ecn };
    const { packet, ctx } = await filter.main.run(make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), header), 1), {
      ctx: Buffer.alloc(192),
    });
    assert.equal(packet[19], (46 << 2) | ecn);
    assert.equal(make.checksum([...packet.subarray(18, 38)]), 0, "the header sums to zero");
    assert.equal(marksOf(ctx).priority, 5);
    const six = await filter.main.run(make.ethernet(make.ETH_IPV6, make.ipv6(make.udp(), { trafficClass: ecn })), {
      ctx: Buffer.alloc(192),
    });
    assert.equal(((six.packet[14]! & 15) << 4) | (six.packet[15]! >> 4), (46 << 2) | ecn);
    assert.equal(six.packet[14]! >> 4, 6);
    assert.equal(marksOf(six.ctx).priority, 5);
  }
});

test("filter_ingress takes the priority from the DSCP that the packet has", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load(marking({ priorityFromDscp: true }), maps);
  for (const [dscp, priority] of [
    [0, 0],
    [8, 1],
    [26, 3],
    [56, 7],
  ] as const) {
    const packet = make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { tos: dscp << 2 }));
    const run = await filter.main.run(packet, { ctx: Buffer.alloc(192) });
    assert.equal(marksOf(run.ctx).priority, priority);
    assert.deepEqual(run.packet, packet);
  }
});

test("filter_ingress leaves dropped packets and dry runs unmarked", async () => {
  using maps = new TestMaps();
  const wish = marking({ skb: { value: 1, mask: 1 }, dscp: 46 });
  await using filter = await DeclaredFilter.load({ ...wish, list: ["192.0.2.1"] }, maps);
  for (const [run, source] of [
    [filter.main, "192.0.2.1"],
    [filter.twin, "192.0.2.9"],
  ] as const) {
    const packet = udp4(source);
    const { packet: out, ctx } = await run.run(packet, { ctx: Buffer.alloc(192) });
    assert.deepEqual(out, packet);
    assert.equal(marksOf(ctx).mark, 0);
  }
});

test("filter_xdp reports sampled verdicts with rule, reason and the packet's head", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ list: ["10.10.10.0/24"] }, maps);
  const events: VerdictEvent[] = [];
  const ring = maps.find("node/events").ringbuf((records) => {
    for (const record of records) events.push(decodeEvent(record)!);
  });
  const sample = (text: Parameters<typeof encodeSampling>[0]): void =>
    maps.find("node/trace").setRaw(zero, encodeSampling(text));
  const packets = [
    udp4("10.10.10.7"),
    udp4("192.0.2.1"),
    make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(new Uint8Array(500)))),
    make.ethernet(0x0806, new Uint8Array(7)),
  ];
  const runAll = async (): Promise<void> => {
    for (const packet of packets) await filter.main.run(packet);
  };
  const instanceId = instanceIdOf(filter.instance.key);
  try {
    await runAll();
    sample({ every: 1, only: "all", instanceId: instanceId + 1n });
    await runAll();
    sample({ every: 1, only: "all", instanceId });
    await runAll();
    sample({ every: 1, only: "drop" });
    await runAll();
    for (let waited = 0; events.length < 5 && waited < 2000; waited += 10) await sleep(10);
  } finally {
    await ring.close();
  }
  const told = events.map((event) => feature.explanations!.explain(filter.instance, event.scratch, new Map()).text);
  assert.deepEqual(told, [
    "dropped: source 10.10.10.7 is in 10.10.10.0/24",
    "passed: source 192.0.2.1 is on no list",
    "passed: source 10.0.0.1 is on no list",
    "passed: it carries no IP",
    "dropped: source 10.10.10.7 is in 10.10.10.0/24",
  ]);
  for (const [at, event] of events.slice(0, 4).entries()) {
    assert.deepEqual(Buffer.from(event.head), packets[at]!.subarray(0, 128));
    assert.equal(event.lengthBytes, packets[at]!.length);
    assert.equal(event.layer, "ethernet");
    assert.equal(event.instanceId, instanceId);
  }
});

test("filter_xdp samples about one packet in so many", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({}, maps);
  let count = 0;
  const ring = maps.find("node/events").ringbuf((records) => {
    count += records.count;
  });
  maps.find("node/trace").setRaw(zero, encodeSampling({ every: 100, only: "all" }));
  await filter.main.run(udp4("192.0.2.1"), { repeat: 100_000 });
  await sleep(50);
  await ring.close();
  assert.ok(count > 700 && count < 1300, `${count} of 100,000`);
});

test("filter_xdp counts what finds the ring full, and nothing while nobody looks", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({}, maps);
  const sent = 20_000;
  await filter.main.run(udp4("192.0.2.1"), { repeat: sent });
  assert.deepEqual(readLostEvents(await maps.read("node/lost-events")), { verdicts: 0n, flows: 0n });
  maps.find("node/trace").setRaw(zero, encodeSampling({ every: 1, only: "all" }));
  await filter.main.run(udp4("192.0.2.1"), { repeat: sent });
  maps.find("node/trace").setRaw(zero, encodeSampling({ every: 0, only: "all" }));
  const { verdicts, flows } = readLostEvents(await maps.read("node/lost-events"));
  let told = 0;
  const ring = maps.find("node/events").ringbuf((records) => {
    told += records.count;
  });
  for (let waited = 0; told < sent - Number(verdicts) && waited < 20_000; waited += 10) await sleep(10);
  await ring.close();
  assert.deepEqual([told + Number(verdicts), flows], [sent, 0n]);
  assert.ok(told > 1000 && verdicts > 1000n, `${told} told`);
});
