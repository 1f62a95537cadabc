import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BpfProgram, buildChain } from "@bpfleet/native";
import { asm } from "@bpfleet/kernel/chain";
import { DeclaredFilter } from "./testing/declared-filter.ts";
import { TestMaps, facts } from "./testing/loaded-filter.ts";
import * as make from "./testing/packets.ts";

const from4 = (source: string): Buffer =>
  make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { source: make.v4(source) }));
const from6 = (source: string): Buffer =>
  make.ethernet(make.ETH_IPV6, make.ipv6(make.udp(), { source: make.v6(source) }));

/** How many of `count` packets passed, and how long that took, with what came before since `begun`. */
async function burst(filter: DeclaredFilter, packet: Buffer, count: number): Promise<number> {
  const before = await filter.packets("allowed");
  await filter.main.run(packet, { repeat: count });
  return (await filter.packets("allowed")) - before;
}

test("filter_xdp lets a burst of one second's worth through, and then what the rate gives", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ packetsPerSecond: 1000 }, maps);
  const packet = from4("192.0.2.1");
  const begin = performance.now();
  let passed = await burst(filter, packet, 20_000);
  assert.ok(passed >= 1000, `${passed} passed at once`);
  for (let round = 0; round < 3; round++) {
    await sleep(100);
    passed += await burst(filter, packet, 5_000);
    const end = performance.now() - begin;
    assert.ok(passed <= 1000 + end + 1, `${passed} passed in ${end} ms`);
  }
  // The last burst ended at an empty bucket, so nothing was left unused but what came since it began.
  assert.ok(passed >= 1000 + 300, `${passed} passed in more than 300 ms`);
});

test("filter_xdp lets one packet a second through at the lowest rate", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ packetsPerSecond: 1 }, maps);
  assert.equal(await burst(filter, from4("192.0.2.1"), 100), 1);
  await sleep(1010);
  assert.equal(await burst(filter, from4("192.0.2.1"), 100), 1);
});

test("filter_xdp keeps a bucket for each IPv4 address and each IPv6 /64", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ packetsPerSecond: 10 }, maps);
  const bursts: number[] = [];
  const sources = ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1", "::1"];
  for (const source of sources) {
    bursts.push(await burst(filter, source.includes(":") ? from6(source) : from4(source), 1000));
  }
  // A tenth of a second may pass for the source that shares its bucket.
  assert.ok((bursts[3] ?? 10) < 5, `the second of one /64: ${bursts[3]}`);
  assert.deepEqual(bursts.toSpliced(3, 1), [10, 10, 10, 10, 10]);
});

test("filter_xdp gives no tokens back when the declared rate changes", async () => {
  using maps = new TestMaps();
  const packet = from4("192.0.2.1");
  await using slow = await DeclaredFilter.load({ packetsPerSecond: 100 }, maps);
  await using fast = await DeclaredFilter.load({ packetsPerSecond: 10_000 }, maps);
  const begin = performance.now();
  const before = await burst(slow, packet, 5000);
  const after = await burst(fast, packet, 200_000);
  const elapsedMs = performance.now() - begin;
  assert.ok(before >= 100, `${before} passed at the slow rate`);
  // At most one packet's worth of the slow rate was left, a hundredth of the bucket.
  assert.ok(after <= elapsedMs * 10 + 100 + 1, `${after} passed within ${elapsedMs} ms after the bucket was full`);
});

test("filter_xdp counts what is over the limit under the limit's own rule", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ packetsPerSecond: 10 }, maps);
  const packet = from4("192.0.2.1");
  await filter.main.run(packet, { repeat: 1000 });
  const { reasons, rules, gauges } = await filter.counters();
  const limited = reasons["rate_limited"]!;
  assert.equal(limited.packets + reasons["allowed"]!.packets, 1000n);
  assert.deepEqual(rules.at(-1)?.counter, limited);
  assert.equal(limited.bytes, limited.packets * BigInt(packet.length));
  assert.equal(rules.at(-1)?.rule.text, "10 packets per second");
  assert.equal(gauges["ratelimit_entries"], 1);
});

test("filter_xdp holds the limit when several CPUs count one source", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ packetsPerSecond: 50_000 }, maps);
  const packet = from4("192.0.2.1");
  const begin = performance.now();
  const cpus = 4;
  await Promise.all(Array.from({ length: cpus }, () => filter.main.run(packet, { repeat: 500_000 })));
  const elapsedMs = performance.now() - begin;
  const passed = await filter.packets("allowed");
  assert.ok(passed >= 50_000, `${passed} passed`);
  assert.ok(passed <= 50_000 + elapsedMs * 50 + cpus, `${passed} passed in ${elapsedMs} ms`);
  assert.equal(passed + (await filter.packets("rate_limited")), cpus * 500_000);
});

/** Writes any IPv4 source into the packet. */
async function loadSpoofer(): Promise<{ program: BpfProgram; insns: Buffer }> {
  const getRandom = 7;
  const sourceAt = 26;
  const insns = Buffer.from(
    asm.encodeInsns([
      asm.mov(6, 1),
      asm.callHelper(getRandom),
      asm.load32(1, 6, 0),
      asm.load32(2, 6, 4),
      asm.mov(3, 1),
      asm.addImm(3, sourceAt + 4),
      asm.jumpIfAboveReg(3, 2, 1),
      asm.store32(1, sourceAt, 0),
      asm.movImm(0, 2),
      asm.exit,
    ]),
  );
  return {
    program: await BpfProgram.loadRaw({ type: "xdp", name: "spoof", license: "GPL", insns, expectedAttachType: "xdp" }),
    insns,
  };
}

test("filter_xdp gives no tokens back to a source while a flood invents a million others", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ packetsPerSecond: 1 }, maps);
  const { program, insns } = await loadSpoofer();
  using spoofer = program;
  const spoof = {
    program: spoofer,
    instructions: { insns, license: "GPL", flags: 0, expectedAttachType: "xdp" },
    mode: "inline",
    proceedOn: [2],
  } as const;
  using chain = await buildChain({ hook: "xdp", name: "flood", members: [spoof, filter.main.part([2])] });
  const victim = from4("192.0.2.1");
  const begin = performance.now();
  assert.equal(await burst(filter, victim, 10), 1);
  const before = await filter.packets("allowed");
  const count = 1_000_000;
  let returned = 0;
  for (let sent = 0; sent < count; sent += 100_000) {
    await chain.program.testRun({ data: from4("0.0.0.0"), repeat: 100_000 });
    returned += await burst(filter, victim, 100);
  }
  const seconds = (performance.now() - begin) / 1000;
  assert.ok(returned <= seconds, `${returned} packets of the exhausted source passed in ${seconds} s`);
  const flood = (await filter.packets("allowed")) - before - returned;
  const ways = 7 * sets;
  // Each of them once a second, the sources being ever new.
  assert.ok(flood <= (ways + sets) * (1 + seconds), `${flood} invented sources passed in ${seconds} s`);
  assert.ok(flood >= ways * 0.9, `${flood} invented sources passed`);
});

const setBytes = 128;
const sets = 16384;

/** bucket_set_of() of bpf/include/token-bucket.h. */
function setOf(address: number): number {
  const seed = BigInt.asUintN(64, BigInt(facts.hashSeed) * 0x9e3779b97f4a7c15n);
  const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
  let source = wrap(((0xffffffffn << 32n) | BigInt(address)) ^ seed) * 0x9e3779b97f4a7c15n;
  source = wrap((wrap(source) ^ (wrap(source) >> 32n)) * (seed | 1n));
  source = wrap((source ^ (source >> 29n)) * 0xbf58476d1ce4e5b9n);
  return Number((source >> 32n) & BigInt(sets - 1));
}

/** All ways of all sets belong to others, whose buckets are full again at `fullAt`. */
async function occupy(maps: TestMaps, fullAt: bigint): Promise<void> {
  const set = Buffer.alloc(setBytes);
  for (let way = 0; way < 7; way++) {
    set.writeBigUInt64LE(0xffffffff_0a000000n + BigInt(way), way * 16);
    set.writeBigUInt64LE(fullAt, way * 16 + 8);
  }
  const keys = Buffer.from(Uint32Array.from({ length: sets }, (_, index) => index).buffer);
  await maps.find("filter/default/filter/buckets").updateBatch(keys, Buffer.alloc(setBytes * sets, set), sets);
}

test("filter_xdp gives sources without a bucket one to share, and one of their own when it may", async () => {
  using maps = new TestMaps();
  await using filter = await DeclaredFilter.load({ packetsPerSecond: 5 }, maps);
  const first = 0xc0000200;
  const strangers: string[] = [];
  for (let address = first; strangers.length < 4; address++) {
    if (setOf(address) === setOf(first))
      strangers.push([24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join("."));
  }
  const ticks = process.hrtime.bigint() * 16n;
  await occupy(maps, ticks + 600n * 16_000_000_000n);
  const begin = performance.now();
  let shared = 0;
  for (const stranger of strangers) shared += await burst(filter, from4(stranger), 100);
  const seconds = (performance.now() - begin) / 1000;
  assert.ok(shared >= 5 && shared <= 5 + seconds * 5, `${shared} passed of four that share, in ${seconds} s`);

  await occupy(maps, ticks);
  for (const stranger of strangers) assert.equal(await burst(filter, from4(stranger), 5), 5, stranger);
  const set = (await maps.read("filter/default/filter/buckets")).values.subarray(setOf(first) * setBytes);
  const own = strangers.filter((stranger) =>
    Buffer.from(set.subarray(0, setBytes)).includes(Buffer.from(make.v4(stranger).toReversed())),
  );
  assert.deepEqual(own, strangers);
});
