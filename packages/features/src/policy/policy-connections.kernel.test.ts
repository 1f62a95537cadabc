import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { MapEntries } from "@bpfleet/kernel";
import { connectionCountSize, decodeConnectionCount } from "./generated/policy.ts";
import type { PolicyTable } from "./table/policy-table.ts";
import { ACK, FIN, friend6, peers, RST, SYN, tcpPacket, udpPacket } from "./testing/endpoint-packets.ts";
import { LoadedPolicy, type Direction } from "./testing/loaded-policy.ts";
import { smallTable } from "./testing/small-table.ts";
import { openConnections, tendConnections } from "./tend-connections.ts";

const most = 3;
const loopback = Buffer.from(Uint32Array.of(1).buffer);

function limited(serial: bigint, mostConnections = most): PolicyTable {
  const open = [{ rules: [], fallback: "pass" as const }];
  const table = smallTable({ serial, peers, ingress: open, egress: open });
  return { ...table, tables: table.tables.map((each) => ({ ...each, mostConnections })) };
}

async function load(): Promise<LoadedPolicy> {
  const policy = await LoadedPolicy.load(4096, { counts_connections: true });
  await policy.put(limited(1n));
  return policy;
}

function isOpenOf(policy: LoadedPolicy): number {
  const value = policy.map("connection_counts").getRaw(loopback);
  if (value === undefined) return 0;
  assert.equal(value.length, connectionCountSize);
  const { opened, closed } = decodeConnectionCount(new DataView(value.buffer, value.byteOffset, value.length));
  return Number(opened - closed);
}

type Step = readonly [direction: Direction, flags: number];
const handshake: readonly Step[] = [
  ["ingress", SYN],
  ["egress", SYN | ACK],
  ["ingress", ACK],
];

/** Reasons, of packets of one connection to port 5432. */
async function say(policy: LoadedPolicy, port: number, steps: readonly Step[], peer?: Uint8Array): Promise<string[]> {
  const reasons = [];
  for (const [direction, flags] of steps)
    reasons.push((await policy.run(direction, tcpPacket(direction, 5432, port, flags, peer))).reason);
  return reasons;
}

const opened = ["allowed_by_default", "reply", "established"];
const ends: readonly (readonly [string, readonly Step[]])[] = [
  [
    "both say that they are done",
    [
      ["ingress", FIN | ACK],
      ["egress", FIN | ACK],
      ["ingress", ACK],
    ],
  ],
  ["the endpoint ends it", [["egress", RST | ACK]]],
  ["the other end ends it", [["ingress", RST]]],
];

for (const [what, steps] of ends) {
  test(`policy_ingress refuses a connection more than there may be, and takes one again when ${what}`, async () => {
    await using policy = await load();
    for (let port = 1; port < most; port++) assert.deepEqual(await say(policy, 9000 + port, handshake), opened);
    assert.deepEqual(await say(policy, 9000, handshake, friend6), opened);
    assert.equal(isOpenOf(policy), most);
    assert.deepEqual(await say(policy, 9100, [["ingress", SYN]]), ["connection_limit"]);
    assert.equal((await policy.run("egress", tcpPacket("egress", 9200, 80, SYN))).reason, "connection_limit");
    assert.equal((await policy.run("egress", udpPacket("egress", 9200, 53))).reason, "allowed_by_default");
    assert.deepEqual(
      await say(policy, 9001, [
        ["egress", ACK],
        ["ingress", ACK],
      ]),
      ["reply", "established"],
    );
    assert.deepEqual(await say(policy, 9001, [["ingress", SYN]]), ["allowed_by_default"], "asked for again");
    assert.equal(isOpenOf(policy), most);
    assert.deepEqual(await say(policy, 9001, handshake.slice(1)), opened.slice(1));
    await say(policy, 9001, steps);
    assert.equal(isOpenOf(policy), most - 1, what);
    assert.deepEqual(await say(policy, 9100, [["ingress", SYN]]), ["allowed_by_default"]);
    assert.deepEqual(await say(policy, 9101, [["ingress", SYN]]), ["connection_limit"]);
    assert.equal(policy.packetsOfReason("connection_limit"), 3);
    assert.equal((await policy.explain("ingress", tcpPacket("ingress", 5432, 9101, SYN))).reason, "connection_limit");
  });
}

test("policy_ingress counts a connection on when the endpoint does not take the other end's reset for its end", async () => {
  await using policy = await load();
  await say(policy, 9001, handshake);
  await say(policy, 9001, [
    ["ingress", RST],
    ["egress", ACK],
  ]);
  assert.equal(isOpenOf(policy), 0, "what was on its way");
  await setTimeout(1100);
  await say(policy, 9001, [["ingress", ACK]]);
  assert.equal(isOpenOf(policy), 0, "anybody can make it up");
  await say(policy, 9001, [["egress", ACK]]);
  assert.equal(isOpenOf(policy), 1);
});

test("policy_egress counts connections that are older than the limit, and cuts none of them", async () => {
  await using policy = await LoadedPolicy.load(4096, { counts_connections: true });
  await policy.put(limited(1n, 0));
  for (let port = 1; port <= most + 2; port++) assert.deepEqual(await say(policy, 9000 + port, handshake), opened);
  assert.equal(isOpenOf(policy), 0);
  await policy.put(limited(2n));
  for (let port = 1; port <= most + 2; port++)
    assert.deepEqual(
      await say(policy, 9000 + port, [
        ["ingress", ACK],
        ["egress", ACK],
      ]),
      ["established", "reply"],
    );
  assert.equal(isOpenOf(policy), most + 2);
  assert.deepEqual(await say(policy, 9100, [["ingress", SYN]]), ["connection_limit"]);
  await policy.put(limited(3n));
  assert.deepEqual(
    await say(policy, 9001, [
      ["ingress", ACK],
      ["egress", ACK],
    ]),
    ["established", "reply"],
  );
  assert.equal(isOpenOf(policy), most + 2, "an edit counts nothing twice");
  await policy.put(limited(4n, most + 3));
  assert.deepEqual(await say(policy, 9100, [["ingress", SYN]]), ["allowed_by_default"]);
});

test("policy_ingress counts no connection that a stranger's packets pretend", async () => {
  await using policy = await load();
  assert.deepEqual(
    await say(policy, 9001, [
      ["ingress", ACK],
      ["ingress", ACK],
    ]),
    [opened[0], "established"],
  );
  assert.equal(isOpenOf(policy), 0);
  await say(policy, 9001, [["egress", RST]]);
  assert.equal(isOpenOf(policy), 0);
});

const seconds = (count: number): bigint => BigInt(count) * 1_000_000_000n;

/** What the daemon does from time to time; `later` from now. */
async function tend(policy: LoadedPolicy, later = 0n): Promise<void> {
  const data = { about: "node", endpoints: [], limited: [1] };
  const owner = { group: "", kind: "Node", namespace: "", name: "n" };
  const instance = { feature: "policy", owner, key: "policy/node", programs: [], maps: {}, rules: [], data };
  const edits = await tendConnections(instance, (role) => read(policy, role), process.hrtime.bigint() + later);
  for (const { role, puts, deletes } of edits) {
    const map = policy.map(role);
    if (puts.count > 0) await map.updateBatch(puts.keys, puts.values, puts.count);
    if (deletes.count > 0) await map.deleteBatch(deletes.keys, deletes.count);
  }
}

function read(policy: LoadedPolicy, role: string): Promise<MapEntries> {
  return policy.map(role).readBatch();
}

async function countedOf(policy: LoadedPolicy): Promise<number | undefined> {
  return openConnections(await read(policy, "connection_counts"), await read(policy, "connections_aged")).get(1);
}

test("tendConnections gives back what was asked for in vain, and what is still for as long as a connection may be", async () => {
  await using policy = await load();
  assert.deepEqual(await say(policy, 9001, handshake), opened);
  assert.deepEqual(await say(policy, 9002, [["ingress", SYN]]), ["allowed_by_default"]);
  assert.deepEqual(
    await say(policy, 9003, [
      ["ingress", SYN],
      ["egress", SYN | ACK],
    ]),
    ["allowed_by_default", "reply"],
  );
  await tend(policy);
  assert.equal(await countedOf(policy), most);
  assert.deepEqual(await say(policy, 9004, [["ingress", SYN]]), ["connection_limit"]);
  await tend(policy, seconds(11));
  assert.equal(await countedOf(policy), 1, "the one that was answered and confirmed");
  assert.deepEqual(await say(policy, 9004, [["ingress", SYN]]), ["allowed_by_default"]);
  assert.equal(await countedOf(policy), 2);
  await tend(policy, seconds(8001));
  assert.equal(await countedOf(policy), 0);
  // Its record is looked at again after a second.
  await setTimeout(1100);
  await say(policy, 9001, [["egress", ACK]]);
  assert.equal(await countedOf(policy), 1, "it goes on all the same, and counts again");
});

test("tendConnections puts a number right that is wrong", async () => {
  await using policy = await load();
  await say(policy, 9001, handshake);
  policy.map("connections_aged").setRaw(loopback, Buffer.from(BigInt64Array.of(-2n).buffer));
  assert.deepEqual(await say(policy, 9002, [["ingress", SYN]]), ["connection_limit"]);
  await tend(policy);
  assert.equal(await countedOf(policy), 1);
  assert.deepEqual(await say(policy, 9002, [["ingress", SYN]]), ["allowed_by_default"]);
});

test("policy_egress takes nothing of one limit for a connection that the other refuses", async () => {
  await using policy = await LoadedPolicy.load(4096, { counts_connections: true });
  const table = limited(1n);
  await policy.put({ ...table, tables: table.tables.map((each) => ({ ...each, connectionRate: 1000 })) });
  const begin = async (port: number): Promise<string> =>
    (await policy.run("egress", tcpPacket("egress", 20_000 + port, 80, SYN))).reason;
  const ratesAt = (): Buffer => policy.map("connection_rates").getRaw(loopback) ?? assert.fail("no rate");
  for (let port = 1; port < most; port++) assert.equal(await begin(port), "allowed_by_default");
  const ahead = Buffer.alloc(8);
  ahead.writeBigUInt64LE(process.hrtime.bigint() + 1_000_000_000_000n);
  policy.map("connection_rates").setRaw(loopback, ahead);
  assert.equal(await begin(100), "connection_rate");
  assert.equal(isOpenOf(policy), most - 1);
  policy.map("connection_rates").setRaw(loopback, Buffer.alloc(8));
  assert.equal(await begin(most), "allowed_by_default");
  const before = ratesAt();
  assert.equal(await begin(101), "connection_limit");
  assert.deepEqual(ratesAt(), before);
  assert.equal(isOpenOf(policy), most);
});
