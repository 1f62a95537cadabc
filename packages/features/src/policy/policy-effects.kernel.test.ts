import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { RuleEffect } from "./table/policy-table.ts";
import * as make from "../filter/testing/packets.ts";
import { endpointPacket, friend, friend6, icmpError, peers, udpPacket as udp, us } from "./testing/endpoint-packets.ts";
import { LoadedPolicy, type Direction } from "./testing/loaded-policy.ts";
import { smallTable } from "./testing/small-table.ts";

const passes = -1;
const packetBytes = udp("egress", 1, 53).length;

async function passed(policy: LoadedPolicy, direction: Direction, packets: readonly Buffer[]): Promise<number> {
  let count = 0;
  for (const data of packets) {
    const { retval } = await policy.programs[direction].testRun({ data });
    if ((retval | 0) === passes) count++;
  }
  return count;
}

function many(direction: Direction, count: number, from = 1): readonly Buffer[] {
  return Array.from({ length: count }, (_, at) =>
    udp(direction, from + (at % 4), 53, at % 2 === 0 ? undefined : friend6),
  );
}

/** What an endpoint sends to port 53 has the effect. */
async function put(policy: LoadedPolicy, serial: bigint, effect: RuleEffect, index = 7): Promise<void> {
  const egress = [{ rules: [{ port: ["udp", 53] as const, rule: index, effect }, { rule: index + 2 }] }];
  await policy.put(smallTable({ serial, peers, ingress: [{ rules: [] }], egress }));
}

const slow = { bitsPerSecond: 8, burstBytes: packetBytes * 5 };

test("policy_egress lets pass what a rule's rate allows, for all its flows together, and counts what is beyond", async () => {
  await using policy = await LoadedPolicy.load(4096, { has_effects: true });
  await put(policy, 1n, { ruleId: 77n, bandwidth: slow });
  const count = await passed(policy, "egress", many("egress", 40));
  // IPv6 packets are longer.
  assert.ok(count >= 3 && count <= 6, `${count} of 40`);
  assert.equal((await policy.run("egress", udp("egress", 1, 53))).reason, "rate_limit");
  assert.equal((await policy.run("egress", udp("egress", 1, 54))).reason, "allowed", "of another rule");
  assert.equal(await passed(policy, "ingress", [udp("ingress", 1, 53)]), 1, "answers are not counted");
  assert.equal((await policy.reasons()).get("rate_limit"), 41 - count);
  assert.equal(policy.packetsOfRule(1, 7), count + 1, "what passed, answers among it");
  // An edit gives nobody a full bucket, though the rule has another place; another rule has its own.
  await put(policy, 2n, { ruleId: 77n, bandwidth: slow }, 12);
  assert.equal(await passed(policy, "egress", many("egress", 20)), 0);
  await put(policy, 3n, { ruleId: 78n, bandwidth: slow });
  assert.ok((await passed(policy, "egress", many("egress", 20))) >= 3);
});

test("policy_egress lets pass again soon after a rule's rate is raised", async () => {
  await using policy = await LoadedPolicy.load(4096, { has_effects: true });
  await put(policy, 1n, { ruleId: 77n, bandwidth: slow });
  assert.ok((await passed(policy, "egress", many("egress", 20))) >= 3);
  await put(policy, 2n, { ruleId: 77n, bandwidth: { ...slow, bitsPerSecond: 4 } });
  assert.ok((await passed(policy, "egress", many("egress", 20))) <= 5, "lowered");
  assert.equal(await passed(policy, "egress", many("egress", 20)), 0);
  await put(policy, 3n, { ruleId: 77n, bandwidth: { ...slow, bitsPerSecond: 1_000_000_000 } });
  const begunMs = performance.now();
  while ((await passed(policy, "egress", many("egress", 4))) === 0) {
    assert.ok(performance.now() - begunMs < 20_000, "nothing passes");
    await setTimeout(1);
  }
});

test("policy_egress lets as many bytes pass each second as a rule says", async () => {
  await using policy = await LoadedPolicy.load(4096, { has_effects: true });
  const bitsPerSecond = packetBytes * 8 * 200;
  await put(policy, 1n, { ruleId: 77n, bandwidth: { bitsPerSecond, burstBytes: packetBytes * 2 } });
  const begunMs = performance.now();
  for (let count = 0; count < 30; count++) {
    await setTimeout(8);
    assert.equal(await passed(policy, "egress", [udp("egress", 1, 53)]), 1, "as slow as the rate");
  }
  const flood = await passed(policy, "egress", many("egress", 400));
  const most = (200 * (performance.now() - begunMs)) / 1000 + 4;
  assert.ok(flood <= most, `${flood}, ${Math.round(most)} at most`);
});

test("policy_egress marks the packets of a rule's flows, and no others", async () => {
  await using policy = await LoadedPolicy.load(4096, { has_effects: true, marks_packets: true });
  await put(policy, 1n, { ruleId: 77n, mark: 46 });
  const markOf = async (direction: Direction, packet: Buffer): Promise<number> => {
    const { ctx } = await policy.programs[direction].testRun({ data: packet, ctx: Buffer.alloc(192) });
    return ctx.readUInt32LE(8);
  };
  assert.equal(await markOf("egress", udp("egress", 1, 53)), 46);
  assert.equal(await markOf("egress", udp("egress", 1, 53)), 46, "of a known flow");
  assert.equal(await markOf("ingress", udp("ingress", 1, 53)), 46, "of an answer");
  assert.equal(await markOf("egress", udp("egress", 1, 54)), 0);
});

/** The byte that holds DSCP and ECN, and whether IPv4's header sums to zero. */
function classOf(packet: Buffer, at = 14): number {
  if (packet.readUInt8(at) >> 4 === 6) return (packet.readUInt16BE(at) >> 4) & 0xff;
  assert.equal(make.checksum([...packet.subarray(at, at + 20)]), 0, "the header sums to zero");
  return packet.readUInt8(at + 1);
}

function withClass(packet: Buffer, trafficClass: number, at = 14): Buffer {
  const copy = Buffer.from(packet);
  if (copy.readUInt8(at) >> 4 === 6) {
    copy.writeUInt16BE((6 << 12) | (trafficClass << 4) | (copy.readUInt16BE(at) & 15), at);
    return copy;
  }
  copy.writeUInt8(trafficClass, at + 1);
  copy.writeUInt16BE(0, at + 10);
  copy.writeUInt16BE(make.checksum([...copy.subarray(at, at + 20)]), at + 10);
  return copy;
}

test("policy_egress and policy_ingress write the DSCP of a rule's flows, keep ECN, and change nothing else", async () => {
  await using policy = await LoadedPolicy.load(4096, { has_effects: true, marks_packets: true });
  const marking = (rule: number, mark: number) => ({ rule, effect: { ruleId: BigInt(rule), mark } });
  const egress = [{ rules: [{ port: ["udp", 53] as const, ...marking(7, 46) }, { rule: 9 }] }];
  const ingress = [{ rules: [{ port: ["udp", 5060] as const, ...marking(12, 0) }, { rule: 13 }] }];
  await policy.put(smallTable({ serial: 1n, peers, ingress, egress }));
  const check = async (direction: Direction, packet: Buffer, dscp: number | undefined, at = 14): Promise<void> => {
    for (const ecn of [0, 1, 2, 3]) {
      const sent = withClass(packet, (10 << 2) | ecn, at);
      const { retval, data } = await policy.programs[direction].testRun({ data: sent });
      assert.equal(retval | 0, passes);
      assert.equal(classOf(data, at), ((dscp ?? 10) << 2) | ecn);
      assert.deepEqual(withClass(data, (10 << 2) | ecn, at), sent);
    }
  };
  for (const peer of [friend, friend6]) {
    const ofDns = udp("egress", 1, 53, peer);
    const { data } = await policy.twins.egress.testRun({ data: ofDns });
    assert.deepEqual(data, ofDns, "a dry run writes nothing");
    await check("egress", ofDns, 46);
    await check("ingress", udp("ingress", 1, 53, peer), 46);
    await check("egress", udp("egress", 1, 54, peer), undefined);
    await check("ingress", udp("ingress", 5060, 5060, peer), 0);
    await check("egress", udp("egress", 5060, 5060, peer), 0);
    await check("ingress", udp("ingress", 5061, 5060, peer), undefined);
    const datagram = make.udp([], { source: 1, destination: 53 });
    await check("egress", endpointPacket("egress", peer, 17, datagram, { offset: 0, more: true }), 46);
    await check("egress", endpointPacket("egress", peer, 17, datagram, { offset: 8, more: false }), 46);
    await check("ingress", icmpError("ingress", peer, ofDns), 46);
  }
  const datagram = make.ipv4(make.udp([], { source: 1, destination: 53 }), { source: us, destination: friend });
  await check("egress", make.ethernet(make.ETH_IPV4, datagram, 1), 46, 18);
});
