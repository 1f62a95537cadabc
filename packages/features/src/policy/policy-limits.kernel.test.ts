import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { PolicyTable } from "./table/policy-table.ts";
import { ACK, peers, SYN, tcpPacket, udpPacket } from "./testing/endpoint-packets.ts";
import { LoadedPolicy } from "./testing/loaded-policy.ts";
import { smallTable } from "./testing/small-table.ts";

const rate = 4;
const first = 20_001;
const passes = -1;

function limited(serial: bigint): PolicyTable {
  const open = [{ rules: [], fallback: "pass" as const }];
  const table = smallTable({ serial, peers, ingress: open, egress: [...open, ...open, ...open] });
  // The first one is that of what the endpoint receives.
  const rates = [undefined, rate * 100, rate, undefined];
  return { ...table, tables: table.tables.map((each, at) => ({ ...each, connectionRate: rates[at] })) };
}

test("policy_egress lets an endpoint begin so many connections each second, and go on with those that it has", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(limited(1n));
  const begunMs = performance.now();
  let passed = 0;
  // Without the twin: what it says may be over by the time.
  for (let port = 1; port <= 200; port++) {
    const data = tcpPacket("egress", first + port - 1, 80, SYN);
    const { retval } = await policy.programs.egress.testRun({ data });
    if ((retval | 0) === passes) passed++;
  }
  const seconds = (performance.now() - begunMs) / 1000;
  assert.ok(passed >= rate && passed <= rate * (seconds + 1) + 1, `${passed} in ${seconds} s`);
  const begin = tcpPacket("egress", first + 200, 80, SYN);
  const told = [];
  for (let tries = 0; tries < 20; tries++) {
    await policy.programs.egress.testRun({ data: begin });
    told.push((await policy.explain("egress", begin)).reason);
  }
  assert.ok(told.includes("connection_rate"), told.join());
  assert.equal((await policy.run("egress", tcpPacket("egress", first, 80, ACK))).reason, "established");
  assert.equal((await policy.run("ingress", tcpPacket("ingress", 80, 9000, SYN))).verdict, "pass");
  await policy.put(limited(2n));
  assert.equal((await policy.run("egress", tcpPacket("egress", first, 80, ACK))).reason, "established");
  await setTimeout(1100);
  assert.equal((await policy.run("egress", udpPacket("egress", 20_300, 53))).reason, "allowed_by_default");
});
