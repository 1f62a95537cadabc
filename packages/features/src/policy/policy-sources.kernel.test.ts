import assert from "node:assert/strict";
import { test } from "node:test";
import * as make from "../filter/testing/packets.ts";
import { friend, friend6, peers, stranger, stranger6, SYN, tcpPacket, us, us6 } from "./testing/endpoint-packets.ts";
import { LoadedPolicy, type Direction } from "./testing/loaded-policy.ts";
import { smallTable, type SmallPolicy } from "./testing/small-table.ts";

const open: SmallPolicy = { peers, ingress: [{ rules: [] }], egress: [{ rules: [], fallback: "pass" }] };

function sent(source: Uint8Array, destination: Uint8Array): Buffer {
  if (source.length === 4)
    return make.ethernet(make.ETH_IPV4, make.ipv4(make.udp(), { protocol: 17, source, destination }));
  return make.ethernet(make.ETH_IPV6, make.ipv6(make.udp(), { next: 17, source, destination }));
}

async function reasonsOf(policy: LoadedPolicy, packets: readonly Buffer[], direction: Direction): Promise<string[]> {
  const reasons = [];
  for (const packet of packets) reasons.push((await policy.run(direction, packet)).reason);
  return reasons;
}

test("policy_egress drops what an endpoint sends with an address that it does not have", async () => {
  await using policy = await LoadedPolicy.load();
  for (const [serial, egress] of [open.egress, undefined].entries()) {
    const passes = egress === undefined ? "unrestricted" : "allowed_by_default";
    const linkLocal = make.v4("169.254.172.9");
    await policy.put(smallTable({ ...open, serial: BigInt(serial + 1), egress, own: [us, us6, linkLocal] }));
    const packets = [
      sent(us, friend),
      sent(us6, friend6),
      sent(linkLocal, friend),
      sent(stranger, friend),
      sent(stranger6, friend6),
      sent(make.v4("10.0.0.3"), friend),
      sent(make.v6("fec0::77"), friend6),
      // Of nobody, and of the link alone, to what is not.
      ...["0.0.0.0", "169.254.3.4"].map((source) => sent(make.v4(source), friend)),
      ...["::", "fe80::77"].map((source) => sent(make.v6(source), friend6)),
    ];
    const near = [
      sent(make.v4("0.0.0.0"), make.v4("255.255.255.255")),
      ...["255.255.255.255", "224.0.0.251", "169.254.169.254"].map((to) => sent(make.v4("169.254.3.4"), make.v4(to))),
      sent(make.v6("::"), make.v6("ff02::16")),
      ...["ff02::1:2", "fe80::1"].map((to) => sent(make.v6("fe80::77"), make.v6(to))),
    ];
    const goesOn = serial === 0 ? passes : "established";
    assert.deepEqual(await reasonsOf(policy, packets, "egress"), [
      goesOn,
      goesOn,
      goesOn,
      ...packets.slice(3).map(() => "source_not_own"),
    ]);
    assert.deepEqual(
      await reasonsOf(policy, near, "egress"),
      near.map(() => goesOn),
    );
  }
});

test("policy_egress asks for no address of a family of which none is known, nor where nothing is restricted", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable({ ...open, own: [us] }));
  assert.deepEqual(await reasonsOf(policy, [sent(stranger6, friend6), sent(stranger, friend)], "egress"), [
    "allowed_by_default",
    "source_not_own",
  ]);
  await policy.put(smallTable({ ...open, serial: 2n }));
  assert.deepEqual(await reasonsOf(policy, [sent(stranger, friend)], "egress"), ["allowed_by_default"]);
  await policy.put(smallTable({ peers, serial: 3n, own: [us] }));
  assert.deepEqual(await reasonsOf(policy, [sent(make.v4("10.0.0.9"), friend)], "egress"), ["unrestricted"]);
});

test("policy_egress lets an endpoint answer with the address that it was asked by", async () => {
  await using policy = await LoadedPolicy.load();
  const other = make.v4("10.0.0.3");
  await policy.put(smallTable({ peers, ingress: [{ rules: [{ rule: 1 }] }], egress: [{ rules: [] }], own: [other] }));
  assert.equal((await policy.run("ingress", tcpPacket("ingress", 80, 40000, SYN))).reason, "allowed");
  assert.equal((await policy.run("egress", tcpPacket("egress", 80, 40000, 18))).reason, "reply");
});

test("policy_egress lets neighbours be found on the link of the endpoint, and nowhere else", async () => {
  await using policy = await LoadedPolicy.load();
  await policy.put(smallTable({ ...open, egress: [{ rules: [] }], own: [us6] }));
  const solicitation = (destination: Uint8Array): Buffer => {
    const bytes = make.ipv6([135, ...new Uint8Array(23)], { next: 58, source: us6, destination });
    return make.ethernet(make.ETH_IPV6, bytes.with(7, 255));
  };
  const asked = [make.v6("ff02::1:ff00:1"), make.v6("fe80::1"), friend6, stranger6];
  assert.deepEqual(await reasonsOf(policy, asked.map(solicitation), "egress"), [
    "neighbour",
    "neighbour",
    "neighbour",
    "default_deny",
  ]);
  assert.deepEqual(await reasonsOf(policy, [solicitation(us6)], "ingress"), ["neighbour"]);
});

test("policy_ingress lets nothing pass by a table that is cut short", async () => {
  await using policy = await LoadedPolicy.load();
  const cut: SmallPolicy = { peers, ingress: [{ rules: [{ rule: 1 }] }], egress: [{ rules: [{ rule: 2 }] }] };
  const packets = [tcpPacket("ingress", 80, 40000, SYN)];
  await policy.put(smallTable(cut));
  assert.deepEqual(await reasonsOf(policy, packets, "ingress"), ["allowed"]);
  for (const lines of [2, 6]) {
    const table = smallTable({ ...cut, serial: BigInt(lines) });
    await policy.put(table, (all) => all.slice(0, -lines * 64));
    const { verdict, reason } = await policy.run("ingress", tcpPacket("ingress", 80, 40001, SYN));
    assert.deepEqual([verdict, reason], ["drop", "no_table"], `without the last ${lines} lines`);
  }
});
