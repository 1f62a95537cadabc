import assert from "node:assert/strict";
import { test } from "node:test";
import * as make from "../filter/testing/packets.ts";
import { judgeTable } from "./table/judge-table.ts";
import type { PolicyTable } from "./table/policy-table.ts";
import { writeTable } from "./table/write-table.ts";
import {
  endpointPacket,
  friend,
  friend6,
  icmpError,
  peers,
  stranger,
  stranger6,
  SYN,
  tcpPacket,
  udpPacket,
  us,
  us6,
} from "./testing/endpoint-packets.ts";
import { LoadedPolicy, type Direction } from "./testing/loaded-policy.ts";
import { addressOf, smallTable, type SmallPolicy } from "./testing/small-table.ts";

type Expected = readonly [direction: Direction, packet: Buffer, expected: string];

async function expectAll(policy: LoadedPolicy, cases: readonly Expected[], message?: string): Promise<void> {
  const found = [];
  for (const [direction, packet] of cases) {
    const { verdict, reason } = await policy.run(direction, packet);
    found.push(`${verdict} ${reason}`);
  }
  assert.deepEqual(
    found,
    cases.map(([, , expected]) => expected),
    message,
  );
}

const families = [
  [friend, stranger],
  [friend6, stranger6],
] as const;

const dns: SmallPolicy = {
  peers,
  ingress: [
    {
      rules: [
        { peer: "friend", port: ["udp", 53], rule: 1 },
        { peer: "friend6", port: ["udp", 53], rule: 2 },
      ],
    },
  ],
};

test("policy_ingress judges fragments by what the first one said, and drops those that come without it", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable(dns));
  for (const [peer, other] of families) {
    const whole = make.udp(new Uint8Array(24), { source: 4000, destination: 53 }, 8 + 48);
    const piece = (from: Uint8Array, offset: number, more: boolean): Buffer =>
      endpointPacket("ingress", from, 17, offset === 0 ? whole : [...new Uint8Array(24)], { offset, more });
    await expectAll(policy, [
      ["ingress", piece(peer, 32, false), "drop fragment_without_first"],
      ["ingress", piece(peer, 0, true), "pass allowed"],
      ["ingress", piece(peer, 32, false), "pass established"],
      ["ingress", piece(other, 0, true), "drop default_deny"],
      ["ingress", piece(other, 32, false), "drop fragment_without_first"],
      [
        "egress",
        endpointPacket("egress", other, 17, [...new Uint8Array(24)], { offset: 32, more: false }),
        "pass unrestricted",
      ],
    ]);
  }
});

test("policy_ingress lets ICMP errors pass that are about a live flow, and judges others by their type", async () => {
  await using policy = await LoadedPolicy.load();
  const egress = [{ rules: [{ port: ["udp", 53], rule: 4 }] }] as const;
  const table = smallTable({ peers, ingress: [{ rules: [] }], egress });
  await policy.put(table);
  for (const [peer, router] of families) {
    const sent = udpPacket("egress", 5000, 53, peer);
    const about = icmpError("ingress", router, sent);
    const tooBig = icmpError("ingress", router, sent, router.length === 16 ? 2 : 11);
    await expectAll(policy, [
      ["ingress", about, "drop default_deny"],
      ["egress", sent, "pass allowed"],
      ["ingress", about, "pass related"],
      ["ingress", tooBig, "pass related"],
      ["ingress", icmpError("ingress", router, udpPacket("egress", 5001, 53, peer)), "drop default_deny"],
      ["ingress", icmpError("ingress", router, sent, router.length === 16 ? 5 : 5), "drop default_deny"],
    ]);
  }
  await policy.put(smallTable({ serial: 2n, peers, ingress: [{ rules: [] }], egress: [{ rules: [] }] }));
  const about = icmpError("ingress", stranger, udpPacket("egress", 5000, 53));
  await expectAll(policy, [["ingress", about, "drop revoked"]]);
});

test("policy_egress lets the endpoint tell of a port that is closed", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable({ ...dns, egress: [{ rules: [] }] }));
  for (const [peer] of families) {
    const received = udpPacket("ingress", 53, 4000, peer);
    await expectAll(policy, [
      ["ingress", received, "pass allowed"],
      ["egress", icmpError("egress", peer, received), "pass related"],
    ]);
  }
});

test("policy_egress lets the endpoint tell of a flow only the one that sent what the error is about", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable({ ...dns, egress: [{ rules: [] }] }));
  for (const [peer, other] of families) {
    const received = udpPacket("ingress", 53, 4000, peer);
    await expectAll(policy, [
      ["ingress", received, "pass allowed"],
      ["egress", icmpError("egress", other, received), "drop default_deny"],
      ["egress", icmpError("egress", peer, received), "pass related"],
      ["ingress", icmpError("ingress", other, received), "drop default_deny"],
    ]);
  }
});

test("policy_ingress judges SCTP by its ports, and other protocols by their numbers", async () => {
  await using policy = await LoadedPolicy.load();
  const sctp = (peer: Uint8Array, local: number): Buffer =>
    endpointPacket("ingress", peer, 132, [...make.be16(9000), ...make.be16(local), ...new Uint8Array(12)]);
  await policy.put(
    smallTable({
      peers,
      ingress: [
        {
          rules: [
            { port: ["sctp", 3868], rule: 1 },
            { port: ["others", 47], rule: 2 },
          ],
        },
      ],
      egress: [{ rules: [] }],
    }),
  );
  for (const [peer] of families) {
    await expectAll(policy, [
      ["ingress", sctp(peer, 3868), "pass allowed"],
      ["ingress", sctp(peer, 3868), "pass established"],
      ["ingress", sctp(peer, 3869), "drop default_deny"],
      ["ingress", endpointPacket("ingress", peer, 132, [1, 2, 3, 4]), "drop malformed_sctp"],
      ["ingress", endpointPacket("ingress", peer, 47, [0, 0, 8, 0]), "pass allowed"],
      ["egress", endpointPacket("egress", peer, 47, [0, 0, 8, 0]), "pass reply"],
      ["egress", endpointPacket("egress", peer, 50, [0, 0, 8, 0]), "drop default_deny"],
    ]);
  }
});

test("policy_ingress reads behind IPv4 options, IPv6 extension headers and VLAN tags", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable(dns));
  const { hopByHop, routing, destination } = make.extension;
  const { next, bytes } = make.chain(
    [{ kind: hopByHop }, { kind: routing, length: 2 }, { kind: destination, length: 1 }],
    17,
    make.udp(),
  );
  const behind = make.ethernet(make.ETH_IPV6, make.ipv6(bytes, { next, source: friend6, destination: us6 }));
  const options = make.ipv4(make.udp(), { source: friend, destination: us, options: [1, 1, 1, 0] });
  const tagged = make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { source: friend, destination: us }), 2);
  const cut = make.ethernet(make.ETH_IPV4, make.ipv4(make.udp([], {}, 400), { source: friend, destination: us }));
  await expectAll(policy, [
    ["ingress", behind, "pass allowed"],
    ["ingress", behind, "pass established"],
    ["ingress", make.ethernet(make.ETH_IPV4, options), "pass allowed"],
    ["ingress", tagged, "pass established"],
    ["ingress", cut, "drop fault_15"],
  ]);
});

test("policy_ingress lets neighbours be found, and drops what carries no IP where it restricts", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable(dns));
  const solicitation = (hopLimit: number): Buffer => {
    const bytes = make.ipv6([135, ...new Uint8Array(23)], { next: 58, source: stranger6, destination: us6 });
    return make.ethernet(make.ETH_IPV6, bytes.with(7, hopLimit));
  };
  const report = (hopLimit: number): Buffer => {
    const { next, bytes } = make.chain([{ kind: make.extension.hopByHop }], 58, [143, ...new Uint8Array(27)]);
    const packet = make.ipv6(bytes, { next, source: us6, destination: make.v6("ff02::16") });
    return make.ethernet(make.ETH_IPV6, packet.with(7, hopLimit));
  };
  const spanningTree = make.ethernet(0x0027, new Uint8Array(46));
  await expectAll(policy, [
    ["ingress", make.ethernet(0x0806, new Uint8Array(28)), "pass neighbour"],
    ["egress", make.ethernet(0x0806, new Uint8Array(28)), "pass neighbour"],
    ["ingress", solicitation(255), "pass neighbour"],
    ["ingress", solicitation(64), "drop default_deny"],
    ["ingress", report(1), "pass neighbour"],
    ["ingress", report(64), "drop default_deny"],
    ["ingress", spanningTree, "drop not_ip"],
    ["egress", spanningTree, "pass unrestricted"],
  ]);
});

test("policy_ingress judges no endpoint that the table does not know, and passes nothing without a table", async () => {
  await using policy = await LoadedPolicy.load();
  await expectAll(policy, [["ingress", tcpPacket("ingress", 80, 40000, SYN), "drop no_table"]]);
  await policy.put(smallTable({ ...dns, ifindex: 77 }));
  await expectAll(policy, [["ingress", tcpPacket("ingress", 80, 40000, SYN), "pass not_judged"]]);
  assert.equal((await policy.flows(4)).length, 0);
});

test("policy_ingress asks all tables of the endpoint, and each must allow", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(
    smallTable({
      peers,
      ingress: [
        { rules: [{ peer: "friend", rule: 1 }] },
        { rules: [{ peer: "friend", port: ["tcp", 81], verdict: "drop", rule: 2 }], fallback: "pass" },
        { rules: [{ port: ["tcp", 80, 82], rule: 3 }], fallback: "drop" },
      ],
    }),
  );
  await expectAll(policy, [
    ["ingress", tcpPacket("ingress", 80, 40000, SYN), "pass allowed"],
    ["ingress", tcpPacket("ingress", 81, 40000, SYN), "drop denied"],
    ["ingress", tcpPacket("ingress", 83, 40000, SYN), "drop default_deny"],
    ["ingress", tcpPacket("ingress", 80, 40000, SYN, stranger), "drop default_deny"],
  ]);
  assert.equal(policy.packetsOfRule(1, 1), 1);
  assert.equal(policy.packetsOfRule(1, 2), 1);
});

function randomTable(random: (below: number) => number, serial: bigint): PolicyTable {
  const prefix = (): readonly [Uint8Array, number] => {
    const length = random(2) === 0 ? 32 : 8 + random(24);
    const bytes = make.v4(`10.${random(3)}.${random(4)}.${random(8)}`);
    const mask = length === 0 ? 0 : (-1 << (32 - length)) >>> 0;
    return [bytes.map((byte, at) => byte & (mask >>> (24 - at * 8))), length];
  };
  const all = new Map(Array.from({ length: 30 }, prefix).map((each) => [each.join("/"), each]));
  const names = [...all.keys()];
  const rule = (at: number): NonNullable<SmallPolicy["ingress"]>[number]["rules"][number] => {
    const from = random(400);
    const peer = names[random(names.length)] as string;
    const port = [random(2) === 0 ? "tcp" : "udp", from, from + random(300)] as const;
    const verdict = random(3) === 0 ? "drop" : "pass";
    const form = random(3);
    return { rule: at + 1, verdict, ...(form === 0 ? {} : { peer }), ...(form === 1 ? {} : { port }) };
  };
  const direction = (): NonNullable<SmallPolicy["ingress"]>[number] => ({
    rules: Array.from({ length: 12 }, (_, at) => rule(at)),
    fallback: random(2) === 0 ? "pass" : "drop",
  });
  return smallTable({
    serial,
    peers: Object.fromEntries(all),
    ingress: [direction(), direction()],
    egress: [direction()],
  });
}

test("policy_ingress and policy_egress decide of opening packets what judgeTable reads in the same lines", async () => {
  await using policy = await LoadedPolicy.load();
  const random = make.seededRandom(11);
  let drops = 0;
  for (let round = 1n; round <= 12n; round++) {
    const table = randomTable(random, round);
    const { lines } = writeTable(table);
    await policy.put(table);
    for (let count = 0; count < 120; count++) {
      const direction = random(2) === 0 ? "ingress" : "egress";
      const peer = make.v4(`10.${random(3)}.${random(4)}.${random(8)}`);
      const port = random(800);
      // Random at the other end: no flow of this table is met again.
      const other = 20_000 + Number(round) * 200 + count;
      const isTcp = random(2) === 0;
      const [local, remote] = direction === "ingress" ? [port, other] : [other, port];
      const packet = isTcp ? tcpPacket(direction, local, remote, SYN, peer) : udpPacket(direction, local, remote, peer);
      const protocol = isTcp ? 6 : 17;
      const read = judgeTable(lines, { ifindex: 1, direction, peer: addressOf(peer), protocol, port });
      const { verdict, reason, rule } = read;
      assert.deepEqual(await policy.run(direction, packet), { verdict, reason, rule });
      if (verdict === "drop") drops++;
    }
  }
  assert.ok(drops > 200 && drops < 1240, `${drops} of 1440 dropped`);
});
