import assert from "node:assert/strict";
import { test } from "node:test";
import * as make from "../filter/testing/packets.ts";
import { endpointNumber } from "./generated/policy.ts";
import {
  ACK,
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
import { LoadedPolicy, reasonsOf, type Direction } from "./testing/loaded-policy.ts";
import { smallTable, type SmallPolicy } from "./testing/small-table.ts";

const closed: SmallPolicy = {
  peers,
  ifindex: endpointNumber.host,
  own: [us, us6],
  ingress: [{ rules: [{ peer: "friend", port: ["tcp", 80], rule: 1 }] }],
  egress: [{ rules: [{ port: ["udp", 53], rule: 2 }] }],
};

/** To a port that no rule is about. */
function between(source: Uint8Array, destination: Uint8Array): Buffer {
  const datagram = make.udp([], { source: 9, destination: 9 });
  if (source.length === 4)
    return make.ethernet(make.ETH_IPV4, make.ipv4(datagram, { protocol: 17, source, destination }));
  return make.ethernet(make.ETH_IPV6, make.ipv6(datagram, { next: 17, source, destination }));
}

test("host_ingress judges what is for the node, and nothing that is only forwarded", async () => {
  await using policy = await LoadedPolicy.load(4096, {}, true, 64, "host");
  await policy.put(smallTable(closed));
  const asked: (readonly [Direction, Buffer])[] = [
    ["ingress", tcpPacket("ingress", 80, 4000, SYN)],
    ["ingress", tcpPacket("ingress", 80, 4000, ACK)],
    ["egress", tcpPacket("egress", 80, 4000, SYN | ACK)],
    ["ingress", tcpPacket("ingress", 81, 4000, SYN)],
    ["ingress", between(stranger6, us6)],
    // For others.
    ["ingress", between(stranger, friend)],
    ["ingress", between(stranger6, friend6)],
    // For everybody on the link, which the node is.
    ["ingress", between(stranger, make.v4("224.0.0.251"))],
    ["ingress", between(stranger, make.v4("255.255.255.255"))],
    ["ingress", between(stranger6, make.v6("ff02::fb"))],
    ["ingress", between(make.v6("fe80::9"), make.v6("fe80::1"))],
    // No IP, and who listens to which group.
    ["ingress", make.ethernet(0x88cc, [1, 2, 3, 4])],
    ["ingress", endpointPacket("ingress", friend, 2, [0x11, 0, 0, 0, 0, 0, 0, 0])],
    ["ingress", make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { version: 5 }))],
  ];
  assert.deepEqual(await reasonsOf(policy, asked), [
    "pass allowed",
    "pass established",
    "pass reply",
    "drop default_deny",
    "drop default_deny",
    "pass forwarded",
    "pass forwarded",
    "drop default_deny",
    "drop default_deny",
    "drop default_deny",
    "drop default_deny",
    "pass forwarded",
    "pass neighbour",
    "drop fault_5",
  ]);
});

test("host_egress judges what the node sends, and lets it tell of errors", async () => {
  await using policy = await LoadedPolicy.load(4096, {}, true, 64, "host");
  await policy.put(smallTable(closed));
  const about = udpPacket("ingress", 9, 9, stranger);
  const asked: (readonly [Direction, Buffer])[] = [
    ["egress", udpPacket("egress", 4000, 53, stranger)],
    ["ingress", udpPacket("ingress", 4000, 53, stranger)],
    ["egress", tcpPacket("egress", 4000, 443, SYN, stranger)],
    ["egress", between(friend, stranger)],
    ["egress", between(make.v4("0.0.0.0"), make.v4("255.255.255.255"))],
    ["egress", icmpError("egress", stranger, about)],
    ["egress", icmpError("egress", stranger6, udpPacket("ingress", 9, 9, stranger6))],
    ["ingress", icmpError("ingress", stranger, about)],
  ];
  assert.deepEqual(await reasonsOf(policy, asked), [
    "pass allowed",
    "pass reply",
    "drop default_deny",
    "pass forwarded",
    "drop default_deny",
    "pass neighbour",
    "pass neighbour",
    "drop default_deny",
  ]);
});

test("the verifier follows the programs of the node no further than those of pods", async () => {
  await using policy = await LoadedPolicy.load(64, {}, false, 64, "host");
  for (const [direction, instructions] of Object.entries(policy.verifiedInstructions))
    assert.ok(instructions <= 400_000, `${direction}: ${instructions} instructions`);
});
