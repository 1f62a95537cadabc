import assert from "node:assert/strict";
import { test } from "node:test";
import * as make from "../filter/testing/packets.ts";
import {
  ACK,
  endpointPacket as packet,
  FIN,
  friend,
  friend6,
  peers,
  RST,
  stranger,
  SYN,
  tcpPacket as tcp,
  udpPacket as udp,
} from "./testing/endpoint-packets.ts";
import { LoadedPolicy, reasonsOf, type Direction } from "./testing/loaded-policy.ts";
import { smallTable, type SmallPolicy } from "./testing/small-table.ts";

const web: SmallPolicy = {
  peers,
  ingress: [{ rules: [{ peer: "friend", port: ["tcp", 80], rule: 5 }] }],
  egress: [{ rules: [{ port: ["udp", 53], rule: 7 }] }],
};

test("policy_ingress opens flows that rules allow, answers ride on them, and all else is denied", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable(web));
  assert.deepEqual(
    await reasonsOf(policy, [
      ["ingress", tcp("ingress", 80, 40000, SYN)],
      ["egress", tcp("egress", 80, 40000, SYN | ACK)],
      ["ingress", tcp("ingress", 80, 40000, ACK)],
      ["egress", tcp("egress", 80, 40001, SYN)],
      ["ingress", tcp("ingress", 81, 40000, SYN)],
      ["ingress", tcp("ingress", 80, 40000, SYN, stranger)],
      ["egress", udp("egress", 5000, 53, stranger)],
      ["ingress", udp("ingress", 5000, 53, stranger)],
      ["ingress", udp("ingress", 5000, 54, stranger)],
      ["egress", udp("egress", 5000, 54, stranger)],
    ]),
    [
      "pass allowed",
      "pass reply",
      "pass established",
      "drop default_deny",
      "drop default_deny",
      "drop default_deny",
      "pass allowed",
      "pass reply",
      "drop default_deny",
      "drop default_deny",
    ],
  );
  assert.equal(policy.packetsOfRule(1, 5), 3);
  assert.equal(policy.packetsOfRule(1, 7), 2);
});

test("policy_ingress decides IPv6 flows as it does IPv4 ones", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable({ ...web, ingress: [{ rules: [{ peer: "friend6", port: ["tcp", 80], rule: 5 }] }] }));
  assert.deepEqual(
    await reasonsOf(policy, [
      ["ingress", tcp("ingress", 80, 40000, SYN, friend6)],
      ["egress", tcp("egress", 80, 40000, SYN | ACK, friend6)],
      ["ingress", tcp("ingress", 80, 40000, ACK, friend6)],
      ["ingress", tcp("ingress", 80, 40000, SYN, make.v6("2001:db8::3"))],
      ["ingress", packet("ingress", make.v6("::ffff:a00:1"), 17, make.udp())],
    ]),
    ["pass allowed", "pass reply", "pass established", "drop default_deny", "drop mapped_address"],
  );
  assert.equal((await policy.flows(6)).length, 1);
  assert.equal((await policy.flows(4)).length, 0);
});

test("policy_ingress cuts an open connection with the table that does not allow it, in both directions", async () => {
  await using policy = await LoadedPolicy.load();
  const open: (readonly [Direction, Buffer])[] = [
    ["ingress", tcp("ingress", 80, 40000, ACK)],
    ["egress", tcp("egress", 80, 40000, ACK)],
  ];
  for (const serverMayTalk of [false, true]) {
    const egress = serverMayTalk ? undefined : web.egress;
    await policy.put(smallTable({ ...web, egress }));
    await policy.run("ingress", tcp("ingress", 80, 40000, SYN));
    await policy.put(smallTable({ ...web, serial: 2n, egress }));
    assert.deepEqual(await reasonsOf(policy, open), ["pass established", "pass reply"], "another table allows it too");
    await policy.put(smallTable({ ...web, serial: 3n, ingress: [{ rules: [] }], egress }));
    const cut = ["drop revoked", "drop revoked"];
    assert.deepEqual(await reasonsOf(policy, open.toReversed()), cut);
    assert.deepEqual(await reasonsOf(policy, open), cut);
    await policy.put(smallTable({ ...web, serial: 4n, egress }));
    assert.deepEqual(await reasonsOf(policy, open), ["pass established", "pass reply"], "allowed again");
  }
});

test("policy_ingress lets a flow live on when the rule that opened it keeps flows, and no new one", async () => {
  await using policy = await LoadedPolicy.load();
  const keeping: SmallPolicy = {
    ...web,
    ingress: [{ rules: [{ peer: "friend", port: ["tcp", 80], rule: 5, keepsFlows: true }] }],
  };
  await policy.put(smallTable(keeping));
  await policy.run("ingress", tcp("ingress", 80, 40000, SYN));
  for (const serial of [2n, 3n]) {
    await policy.put(smallTable({ ...web, serial, ingress: [{ rules: [] }] }));
    assert.deepEqual(
      await reasonsOf(policy, [
        ["ingress", tcp("ingress", 80, 40000, ACK)],
        ["egress", tcp("egress", 80, 40000, ACK)],
        ["ingress", tcp("ingress", 80, 40001, SYN)],
        ["ingress", tcp("ingress", 80, 40000, SYN)],
      ]),
      ["pass kept", "pass kept", "drop default_deny", "drop default_deny"],
    );
  }
});

test("policy_ingress judges a connection without a record by the end with the higher port", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable({ ...web, egress: [{ rules: [{ port: ["tcp", 443], rule: 9 }] }] }));
  assert.deepEqual(
    await reasonsOf(policy, [
      ["egress", tcp("egress", 80, 40000, ACK)],
      ["ingress", tcp("ingress", 80, 40000, ACK)],
      ["egress", tcp("egress", 81, 40000, ACK)],
      ["ingress", tcp("ingress", 50000, 443, ACK, stranger)],
      ["egress", tcp("egress", 50000, 443, ACK, stranger)],
      ["ingress", tcp("ingress", 50000, 443, ACK, stranger)],
      ["ingress", tcp("ingress", 50000, 443, SYN, stranger)],
      ["ingress", tcp("ingress", 50000, 444, ACK, stranger)],
      ["ingress", tcp("ingress", 50000, 443, SYN | ACK, make.v4("192.0.2.10"))],
    ]),
    [
      "pass allowed",
      "pass allowed",
      "drop default_deny",
      "pass allowed",
      "pass allowed",
      "pass reply",
      "drop default_deny",
      "drop default_deny",
      "pass allowed",
    ],
  );
});

test("policy_ingress lets a flow that was pushed out of its table be judged again, and forgets none that is allowed", async () => {
  await using policy = await LoadedPolicy.load(128);
  await policy.put(smallTable(web));
  await policy.run("ingress", tcp("ingress", 80, 40000, SYN));
  for (let port = 1; port < 2000; port++) await policy.programs.egress.testRun({ data: udp("egress", port, 53) });
  assert.ok((await policy.flows(4)).length <= 128);
  const reasons = await reasonsOf(policy, [
    ["egress", tcp("egress", 80, 40000, ACK)],
    ["ingress", tcp("ingress", 80, 40000, ACK)],
    ["egress", tcp("egress", 80, 40000, ACK)],
  ]);
  assert.deepEqual(reasons, ["pass allowed", "pass allowed", "pass reply"]);
});

test("policy_ingress remembers how far a TCP connection has come", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable(web));
  const state = async (): Promise<number | undefined> => (await policy.flows(4))[0]?.state;
  await policy.run("ingress", tcp("ingress", 80, 40000, SYN));
  assert.equal(await state(), 0);
  await policy.run("egress", tcp("egress", 80, 40000, SYN | ACK));
  assert.equal(await state(), 1);
  await policy.run("egress", tcp("egress", 80, 40000, FIN | ACK));
  assert.equal(await state(), 2);
  await policy.run("ingress", tcp("ingress", 80, 40000, SYN));
  assert.equal(await state(), 0, "the same ports again");
  await policy.run("ingress", tcp("ingress", 80, 40000, RST));
  assert.equal(await state(), 2);
});

test("policy_ingress lets an ICMP echo be answered, whoever asks and with what identifier", async () => {
  await using policy = await LoadedPolicy.load();
  const table = smallTable({
    peers,
    ingress: [
      {
        rules: [
          { peer: "friend", port: ["icmp", 8], rule: 1 },
          { peer: "friend6", port: ["icmpv6", 128], rule: 1 },
        ],
      },
    ],
    egress: [
      {
        rules: [
          { port: ["icmp", 8], rule: 2 },
          { port: ["icmpv6", 128], rule: 2 },
        ],
      },
    ],
  });
  await policy.put(table);
  const echo = (direction: Direction, peer: Uint8Array, answers: boolean, id: number): Buffer => {
    const type = peer.length === 16 ? (answers ? 129 : 128) : answers ? 0 : 8;
    return packet(direction, peer, peer.length === 16 ? 58 : 1, make.icmp(type, id));
  };
  for (const [peer, other] of [
    [friend, stranger],
    [friend6, make.v6("2001:db8::9")],
  ] as const) {
    assert.deepEqual(
      await reasonsOf(policy, [
        ["ingress", echo("ingress", peer, true, 7)],
        ["egress", echo("egress", peer, false, 7)],
        ["ingress", echo("ingress", peer, false, 7)],
        ["ingress", echo("ingress", peer, true, 7)],
        ["egress", echo("egress", peer, true, 7)],
        ["ingress", echo("ingress", peer, true, 8)],
        ["ingress", echo("ingress", other, false, 7)],
      ]),
      [
        "drop default_deny",
        "pass allowed",
        "pass allowed",
        "pass reply",
        "pass reply",
        "drop default_deny",
        "drop default_deny",
      ],
      `${peer.length} bytes`,
    );
    await policy.put({ ...table, serial: table.serial + 1n });
    assert.deepEqual(await reasonsOf(policy, [["ingress", echo("ingress", peer, true, 7)]]), ["pass reply"]);
  }
});

test("a dry run of policy_ingress changes no flow, and knows those there are", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable(web));
  await policy.programs.ingress.testRun({ data: tcp("ingress", 80, 40000, SYN) });
  await policy.put(smallTable({ ...web, serial: 9n }));
  const before = await policy.contents();
  assert.equal((await policy.explain("egress", tcp("egress", 80, 40000, ACK))).reason, "reply");
  assert.equal((await policy.explain("ingress", tcp("ingress", 80, 40000, FIN))).reason, "established");
  assert.equal((await policy.explain("egress", udp("egress", 1, 53))).reason, "allowed");
  assert.equal(await policy.contents(), before);
});
