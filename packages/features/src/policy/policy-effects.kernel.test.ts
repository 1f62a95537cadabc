import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { RuleEffect } from "./table/policy-table.ts";
import { friend6, peers, udpPacket as udp } from "./testing/endpoint-packets.ts";
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
  assert.ok(((await policy.reasons()).get("rate_limit") ?? 0) >= 34);
  // An edit gives nobody a full bucket, though the rule has another place; another rule has its own.
  await put(policy, 2n, { ruleId: 77n, bandwidth: slow }, 12);
  assert.equal(await passed(policy, "egress", many("egress", 20)), 0);
  await put(policy, 3n, { ruleId: 78n, bandwidth: slow });
  assert.ok((await passed(policy, "egress", many("egress", 20))) >= 3);
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
  await using policy = await LoadedPolicy.load(4096, { has_effects: true });
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
