import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeTrialTotals, endpointMark, trialTotalsSize, type TrialTotals } from "./generated/policy.ts";
import { ACK, peers, RST, SYN, tcpPacket } from "./testing/endpoint-packets.ts";
import { LoadedPolicy, type Direction } from "./testing/loaded-policy.ts";
import { smallTable } from "./testing/small-table.ts";

const open = [{ rules: [], fallback: "pass" as const }];

async function say(policy: LoadedPolicy, direction: Direction, remote: number, flags: number): Promise<string> {
  const { verdict, reason } = await policy.run(direction, tcpPacket(direction, 5432, remote, flags));
  return `${verdict} ${reason}`;
}

test("policy_ingress lets no connection begin that it has no room to count, and cuts none of those that it counts", async () => {
  await using policy = await LoadedPolicy.load(4096, { counts_connections: true });
  const table = smallTable({ peers, ingress: open, egress: open });
  await policy.put({ ...table, tables: table.tables.map((each) => ({ ...each, mostConnections: 1_000_000 })) });
  const room = policy.map("connections").info.maxEntries;
  for (let port = 1; port <= room; port++) {
    await policy.programs.ingress.testRun({ data: tcpPacket("ingress", 5432, port, SYN) });
    await policy.programs.egress.testRun({ data: tcpPacket("egress", 5432, port, SYN | ACK) });
    await policy.programs.ingress.testRun({ data: tcpPacket("ingress", 5432, port, ACK) });
  }
  assert.equal(policy.packetsOfReason("connection_limit"), 0);
  const { retval } = await policy.programs.ingress.testRun({ data: tcpPacket("ingress", 5432, room + 1, SYN) });
  assert.equal(retval, 2);
  assert.equal(policy.packetsOfReason("connection_limit"), 1);
  for (const port of [1, room]) assert.equal(await say(policy, "ingress", port, ACK), "pass established");
  assert.equal(await say(policy, "egress", 1, RST | ACK), "pass reply");
  assert.equal(await say(policy, "ingress", room + 1, SYN), "pass allowed_by_default");
});

test("policy_ingress lets flows pass of which it has no room to tell what would become of them, and counts those", async () => {
  await using policy = await LoadedPolicy.load(4096, { tries_policies: true });
  const table = smallTable({ peers, ingress: [...open, { rules: [] }] });
  await policy.put({
    ...table,
    endpoints: [
      { ifindex: 1, ingress: [0], egress: [] },
      { ifindex: (1 | endpointMark.tried) >>> 0, ingress: [0, 1], egress: [] },
    ],
  });
  const room = policy.map("trials").info.maxEntries;
  for (let port = 1; port <= room + 10; port++) {
    const run = await policy.run("ingress", tcpPacket("ingress", port, 9000, SYN));
    assert.deepEqual([run.verdict, run.reason], ["pass", "allowed_by_default"]);
  }
  assert.equal((await policy.map("trials").readBatch()).count, room);
  const all = BigInt(room + 10);
  assert.deepEqual(totals(policy), { asked: all, wouldDrop: all, wouldPass: 0n, lost: 10n });
});

/** Of all CPUs. */
function totals(policy: LoadedPolicy): Record<keyof TrialTotals, bigint> {
  const value = policy.map("trial_totals").getRaw(Buffer.alloc(4));
  assert.ok(value);
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const sum = { asked: 0n, wouldDrop: 0n, wouldPass: 0n, lost: 0n };
  for (let at = 0; at < value.length; at += trialTotalsSize) {
    const own = decodeTrialTotals(view, at);
    for (const name of ["asked", "wouldDrop", "wouldPass", "lost"] as const) sum[name] += own[name];
  }
  return sum;
}
