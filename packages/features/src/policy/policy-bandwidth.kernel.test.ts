import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import * as make from "../filter/testing/packets.ts";
import { encodePace, flowDirection, paceSize } from "./generated/policy.ts";
import { paceOf } from "./pace.ts";
import { friend6, peers, udpPacket as udp } from "./testing/endpoint-packets.ts";
import { LoadedPolicy, type Direction } from "./testing/loaded-policy.ts";
import { smallTable } from "./testing/small-table.ts";

const passes = -1;
const bytes = udp("egress", 1, 53).length;

function limit(policy: LoadedPolicy, direction: Direction, bitsPerSecond: number, burstBytes: number): void {
  const value = Buffer.alloc(paceSize);
  encodePace(paceOf({ bitsPerSecond, burstBytes }), new DataView(value.buffer, value.byteOffset));
  policy.map("bandwidths").setRaw(Buffer.from(Uint32Array.of(1, flowDirection[direction]).buffer), value);
}

async function passed(policy: LoadedPolicy, direction: Direction, count: number, peer?: Uint8Array): Promise<number> {
  let sum = 0;
  for (let at = 0; at < count; at++) {
    const { retval } = await policy.programs[direction].testRun({ data: udp(direction, 1 + (at % 4), 53, peer) });
    if ((retval | 0) === passes) sum++;
  }
  return sum;
}

test("policy_egress lets an endpoint send what it may, whatever the flow, and names what is beyond", async () => {
  await using policy = await LoadedPolicy.load(4096, { limits_bandwidth: true });
  await policy.put(smallTable({ peers, ingress: [{ rules: [] }], egress: [{ rules: [{ rule: 1 }] }] }));
  limit(policy, "egress", 8, bytes * 5);
  const sent = await passed(policy, "egress", 20);
  assert.ok(sent >= 5 && sent <= 6, `${sent} of 20`);
  assert.equal((await policy.run("egress", udp("egress", 1, 53))).reason, "bandwidth_limit");
  assert.equal(await passed(policy, "egress", 4, friend6), 0);
  assert.equal(policy.packetsOfRule(1, 1), sent, "no rule counts what is dropped");
  assert.equal(await passed(policy, "ingress", 4), 4, "the other direction, which has no limit");
  assert.equal(policy.packetsOfReason("bandwidth_limit"), 20 - sent + 1 + 4);
  // A limit in place of another gives nobody a full bucket.
  limit(policy, "egress", 16, bytes * 5);
  assert.ok((await passed(policy, "egress", 8)) <= 4);
});

test("policy_egress lets pass again soon after a limit is raised, and no more than a burst after it is lowered", async () => {
  await using policy = await LoadedPolicy.load(4096, { limits_bandwidth: true });
  await policy.put(smallTable({ peers, ingress: [{ rules: [] }], egress: [{ rules: [{ rule: 1 }] }] }));
  limit(policy, "egress", 8, bytes * 5);
  assert.equal(await passed(policy, "egress", 20), 6, "minutes ahead");
  limit(policy, "egress", 4, bytes * 5);
  assert.ok((await passed(policy, "egress", 20)) <= 5);
  assert.equal(await passed(policy, "egress", 20), 0);
  limit(policy, "egress", 1_000_000_000, bytes * 5);
  const begunMs = performance.now();
  // The time of the largest packet: 4 ms.
  while ((await passed(policy, "egress", 1)) === 0) {
    assert.ok(performance.now() - begunMs < 20_000, "nothing passes");
    await setTimeout(1);
  }
  limit(policy, "egress", 8, bytes * 5);
  assert.ok((await passed(policy, "egress", 20)) <= 6);
  assert.equal(await passed(policy, "egress", 20), 0);
});

test("policy_egress and policy_ingress let neighbours be found when the limit is used up", async () => {
  await using policy = await LoadedPolicy.load(4096, { limits_bandwidth: true });
  await policy.put(smallTable({ peers, ingress: [{ rules: [{ rule: 1 }] }], egress: [{ rules: [{ rule: 1 }] }] }));
  const arp = make.ethernet(0x0806, new Uint8Array(28));
  for (const direction of ["ingress", "egress"] as const) {
    limit(policy, direction, 8, bytes);
    await passed(policy, direction, 4);
    assert.equal(await passed(policy, direction, 4), 0);
    assert.equal((await policy.run(direction, arp)).reason, "neighbour");
  }
});

test("policy_ingress lets as many bytes pass each second as the endpoint may receive", async () => {
  await using policy = await LoadedPolicy.load(4096, { limits_bandwidth: true });
  await policy.put(smallTable({ peers, ingress: [{ rules: [{ rule: 1 }] }] }));
  const perSecond = 20_000;
  limit(policy, "ingress", bytes * 8 * perSecond, bytes * 10_000);
  const begunMs = performance.now();
  const data = udp("ingress", 1, 53);
  let tried = 0;
  for (; performance.now() - begunMs < 2000; tried += 5000)
    await policy.programs.ingress.testRun({ data, repeat: 5000 });
  const most = (perSecond * (performance.now() - begunMs)) / 1000 + 10_002;
  const got = policy.packetsOfRule(1, 1);
  assert.ok(got <= most && got >= Math.min(tried, most * 0.95), `${got} of ${tried}, ${Math.round(most)} at most`);
});
