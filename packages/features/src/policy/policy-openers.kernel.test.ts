import assert from "node:assert/strict";
import { test } from "node:test";
import { withoutGrace } from "./grace.ts";
import { ACK, peers, stranger, SYN, tcpPacket as tcp, udpPacket as udp } from "./testing/endpoint-packets.ts";
import { LoadedPolicy, reasonsOf } from "./testing/loaded-policy.ts";
import { smallTable, type SmallPolicy } from "./testing/small-table.ts";

/** It serves its friend, and opens connections to port 443 of anybody. */
const shut: SmallPolicy = {
  peers,
  ingress: [{ rules: [{ peer: "friend", port: ["tcp", 80], rule: 5 }] }],
  egress: [{ rules: [{ port: ["tcp", 443], rule: 9 }] }],
};

test("policy_egress lets nobody send TCP as if it answered a connection that nobody opened", async () => {
  await using policy = await LoadedPolicy.load(4096, { grace_seconds: 0 });
  await policy.put(smallTable(shut));
  assert.deepEqual(
    await reasonsOf(policy, [
      ["egress", tcp("egress", 80, 40000, ACK)],
      ["egress", tcp("egress", 80, 40000, SYN | ACK)],
      ["ingress", tcp("ingress", 50000, 443, ACK, stranger)],
      ["ingress", tcp("ingress", 50000, 443, SYN | ACK, stranger)],
    ]),
    ["drop no_connection", "drop no_connection", "drop no_connection", "drop no_connection"],
  );
  assert.equal((await policy.flows(4)).length, 0);
});

test("policy_ingress lets a connection without a record go on with packets of the end that may open it", async () => {
  await using policy = await LoadedPolicy.load(4096, { grace_seconds: 0 });
  await policy.put(smallTable(shut));
  assert.deepEqual(
    await reasonsOf(policy, [
      ["ingress", tcp("ingress", 80, 40000, ACK)],
      ["egress", tcp("egress", 80, 40000, ACK)],
      ["egress", tcp("egress", 50000, 443, ACK, stranger)],
      ["ingress", tcp("ingress", 50000, 443, ACK, stranger)],
      ["ingress", tcp("ingress", 81, 40000, ACK)],
    ]),
    ["pass allowed", "pass reply", "pass allowed", "pass reply", "drop default_deny"],
  );
});

test("policy_ingress lets a connection without a record go on from either end where each may open it", async () => {
  await using policy = await LoadedPolicy.load(4096, { grace_seconds: 0 });
  await policy.put(smallTable({ ...shut, egress: undefined }));
  assert.deepEqual(
    await reasonsOf(policy, [
      ["egress", tcp("egress", 80, 40000, ACK)],
      ["ingress", tcp("ingress", 80, 40000, ACK)],
      ["egress", tcp("egress", 80, 40000, ACK)],
    ]),
    ["pass allowed", "pass established", "pass reply"],
  );
  const [flow] = await policy.flows(4);
  assert.deepEqual([flow?.opened, flow?.rule], [0, 5], "on record as opened by the one with the higher port");
  await policy.put(smallTable({ ...shut, serial: 2n, ingress: [{ rules: [] }], egress: undefined }));
  assert.deepEqual(await reasonsOf(policy, [["egress", tcp("egress", 80, 40000, ACK)]]), ["drop revoked"]);
});

test("policy_egress ends a connection that is older than the policy and is not allowed by it, whoever sends", async () => {
  for (const seconds of [0, 60]) {
    await using policy = await LoadedPolicy.load(4096, { grace_seconds: seconds });
    await policy.put(smallTable({ peers, ingress: [{ rules: [] }] }));
    const reasons = await reasonsOf(policy, [
      ["egress", tcp("egress", 80, 40000, ACK)],
      ["ingress", tcp("ingress", 80, 40000, ACK)],
      ["egress", tcp("egress", 80, 40000, ACK)],
    ]);
    assert.deepEqual(reasons, ["drop default_deny", "drop default_deny", "drop default_deny"], `${seconds} s`);
  }
});

test("policy_egress begins the grace of an endpoint with the first packet, and it ends", async () => {
  await using policy = await LoadedPolicy.load(4096, { grace_seconds: 1 });
  await policy.put(smallTable(shut));
  await policy.run("egress", udp("egress", 1, 2));
  const begunMs = performance.now();
  const answers = tcp("egress", 80, 40000, ACK);
  assert.equal((await policy.run("egress", answers)).reason, "allowed");
  while ((await policy.explain("egress", answers)).reason !== "no_connection")
    assert.ok(performance.now() - begunMs < 5000, "it does not end");
  assert.ok(performance.now() - begunMs > 500, "the clock is coarse, but not so much");
  assert.equal((await policy.run("egress", answers)).verdict, "drop");
});

test("policy_egress knows no grace of an endpoint that can have no older connection", async () => {
  await using policy = await LoadedPolicy.load(4096, { grace_seconds: 60 });
  const openIngress = { peers, egress: [{ rules: [] }] } satisfies SmallPolicy;
  const openEgress = { peers, ingress: [{ rules: [] }] } satisfies SmallPolicy;
  const sent = tcp("egress", 1, 8081, ACK);
  const received = [tcp("ingress", 40000, 443, ACK), tcp("ingress", 40000, 443, SYN | ACK)];
  await policy.put(smallTable(openIngress));
  assert.deepEqual(await reasonsOf(policy, [["egress", sent]]), ["pass unrestricted"]);
  const { keys, values } = withoutGrace(1);
  policy.map("graces").setRaw(Buffer.from(keys), Buffer.from(values));
  assert.deepEqual(await reasonsOf(policy, [["egress", sent]]), ["drop no_connection"]);
  await policy.put(smallTable({ ...openEgress, serial: 2n }));
  assert.deepEqual(
    await reasonsOf(
      policy,
      received.map((packet) => ["ingress", packet]),
    ),
    ["drop no_connection", "drop no_connection"],
  );
});
