import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readLostEvents } from "../events.ts";
import { readLoggedFlow } from "./flow-log.ts";
import { decodeLogBucket } from "./generated/policy.ts";
import { peers, SYN, tcpPacket } from "./testing/endpoint-packets.ts";
import { LoadedPolicy } from "./testing/loaded-policy.ts";
import { smallTable } from "./testing/small-table.ts";

/** More than the ring of a test holds. */
const flows = 2000;

test("policy_ingress counts flows that find the ring full, by rule too, and lets them pass", async () => {
  const unlimited = { log_ns: 1000, all_log_ns: 1000 };
  await using policy = await LoadedPolicy.load(4096, { logs_flows: true, ...unlimited }, false);
  await policy.put(smallTable({ peers, ingress: [{ rules: [{ rule: 1, logs: true }] }] }));
  for (let port = 1; port <= flows; port++) {
    const { retval } = await policy.programs.ingress.testRun({ data: tcpPacket("ingress", 80, 10_000 + port, SYN) });
    assert.equal(retval | 0, -1);
  }
  const lost = readLostEvents(await policy.map("lost_events").readBatch());
  const bucket = policy.map("log_buckets").getRaw(Buffer.of(1, 0, 0, 1));
  assert.ok(bucket);
  const { missed } = decodeLogBucket(new DataView(bucket.buffer, bucket.byteOffset, bucket.length));
  const told: number[] = [];
  const ring = policy.map("events").ringbuf((records) => {
    for (const record of records) told.push(readLoggedFlow(record)?.remote.port ?? 0);
  });
  for (let waited = 0; told.length < flows - Number(lost.flows) && waited < 20_000; waited += 10) await sleep(10);
  await ring.close();
  assert.deepEqual(lost, { verdicts: 0n, flows: missed });
  assert.equal(told.length + Number(missed), flows);
  assert.ok(told.length > 100 && missed > 100n, `${told.length} told`);
  assert.deepEqual(
    told,
    told.map((_, at) => 10_001 + at),
  );
});

test("policy_ingress hands nothing of what was missed of a rule to the one that has its place after an edit", async () => {
  const limited = { log_ns: 1_000_000_000, all_log_ns: 1000 };
  await using policy = await LoadedPolicy.load(4096, { logs_flows: true, ...limited }, false);
  const told: (readonly [slot: number, missed: number])[] = [];
  const ring = policy.map("events").ringbuf((records) => {
    for (const record of records) {
      const flow = readLoggedFlow(record) ?? assert.fail();
      told.push([flow.counterSlot, flow.missed]);
    }
  });
  for (const serial of [1n, 2n]) {
    await policy.put(smallTable({ serial, peers, ingress: [{ rules: [{ rule: 1, logs: true }] }] }));
    const first = 10_000 * Number(serial);
    for (let port = first; port < first + 50; port++)
      await policy.programs.ingress.testRun({ data: tcpPacket("ingress", 80, port, SYN) });
  }
  for (let waited = 0; told.filter(([slot]) => slot === 2).length === 0 && waited < 20_000; waited += 10)
    await sleep(10);
  await ring.close();
  assert.deepEqual(
    told.find(([slot]) => slot === 2),
    [2, 0],
    JSON.stringify(told),
  );
});
