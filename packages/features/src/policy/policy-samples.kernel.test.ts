import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeEvent, encodeSampling, type SampledPackets, type VerdictEvent } from "../events.ts";
import { ACK, FIN, peers, stranger, SYN, tcpPacket, udpPacket } from "./testing/endpoint-packets.ts";
import { LoadedPolicy, type Direction } from "./testing/loaded-policy.ts";
import { smallTable, type SmallPolicy } from "./testing/small-table.ts";

/** A connection that is answered and closed, datagrams that are answered, and what is dropped. */
const packets: readonly (readonly [Direction, Buffer])[] = [
  ["ingress", tcpPacket("ingress", 80, 4000, SYN)],
  ["egress", tcpPacket("egress", 80, 4000, SYN | ACK)],
  ["ingress", tcpPacket("ingress", 80, 4000, ACK)],
  ["ingress", tcpPacket("ingress", 80, 4000, FIN | ACK)],
  ["ingress", udpPacket("ingress", 53, 5000)],
  ["ingress", udpPacket("ingress", 53, 5000)],
  ["egress", udpPacket("egress", 53, 5000)],
  ["egress", udpPacket("egress", 6000, 53)],
  ["egress", udpPacket("egress", 6000, 53)],
  ["ingress", tcpPacket("ingress", 80, 4001, SYN, stranger)],
  ["ingress", udpPacket("ingress", 53, 5001, stranger)],
];

/** Which of the packets were reported as what, by their numbers. */
async function reported(directions: Omit<SmallPolicy, "peers">, only: SampledPackets): Promise<string> {
  await using policy = await LoadedPolicy.load(4096, {}, false);
  await policy.put(smallTable({ peers, ...directions }));
  const events: VerdictEvent[] = [];
  const ask = (wish: SampledPackets): void =>
    policy.map("trace").setRaw(Buffer.alloc(4), encodeSampling({ every: 1, only: wish }));
  const ring = policy.map("events").ringbuf((records) => {
    for (const record of records) events.push(decodeEvent(record)!);
  });
  const last = udpPacket("ingress", 1, 1, stranger);
  const isLast = ({ head }: VerdictEvent): boolean => last.equals(head);
  const told: string[] = [];
  try {
    for (const [at, [direction, data]] of packets.entries()) {
      ask(only);
      await policy.programs[direction].testRun({ data });
      ask("all");
      await policy.programs.ingress.testRun({ data: last });
      for (let waited = 0; !events.some(isLast) && waited < 20_000; waited += 1) await sleep(1);
      const own = events.filter((event) => !isLast(event));
      assert.ok(own.length <= 1);
      told.push(...own.map((event) => `${at}${event.verdict === "drop" ? "-" : event.opensFlow ? "+" : ""}`));
      events.length = 0;
    }
  } finally {
    await ring.close();
  }
  return told.join(" ");
}

const friends = { ingress: [{ rules: [{ rule: 1, peer: "friend" }] }] };

test("policy_ingress and policy_egress report what opens a flow, and drops, where that is asked for", async () => {
  assert.equal(await reported(friends, "flow"), "0+ 4+ 7+ 9- 10-");
  assert.equal(await reported(friends, "drop"), "9- 10-");
  assert.equal(await reported(friends, "all"), "0+ 1 2 3 4+ 5 6 7+ 8 9- 10-");
});

test("policy_ingress and policy_egress report of an endpoint that nothing restricts what asks for a connection", async () => {
  assert.equal(await reported({}, "flow"), "0+ 9+");
});
