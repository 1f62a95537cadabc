import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { InstanceCounters } from "@bpfleet/features";
import { StateFile } from "../state/state-file.ts";
import { RuleHistory } from "./rule-history.ts";

const owner = { group: "networking.k8s.io", kind: "NetworkPolicy", namespace: "x", name: "p" };
const hour = 3_600_000;

function counted(packets: number, id = "7"): InstanceCounters {
  const rule = { index: 1, id, text: "allow", origin: { object: owner, path: "/spec" } };
  const counter = { packets: BigInt(packets), bytes: BigInt(packets) * 60n };
  return { owner, reasons: {}, rules: [{ rule, counter }], gauges: {} };
}

function place(t: TestContext): StateFile {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-rules-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return new StateFile(join(folder, "rules"), "rules", 1);
}

function told({ rules }: InstanceCounters): object {
  const [{ counter, sinceMs, lastHitMs } = assert.fail()] = rules;
  return { packets: Number(counter.packets), bytes: Number(counter.bytes), sinceMs, lastHitMs };
}

test("RuleHistory knows since when a rule is counted, and when it was last seen to count", (t) => {
  const history = new RuleHistory(place(t), "boot", 0);
  assert.deepEqual(told(history.see(counted(0), 1000)), { packets: 0, bytes: 0, sinceMs: 1000, lastHitMs: undefined });
  assert.deepEqual(told(history.see(counted(3), 2000)), { packets: 3, bytes: 180, sinceMs: 1000, lastHitMs: 2000 });
  assert.deepEqual(told(history.see(counted(3), 9000)), { packets: 3, bytes: 180, sinceMs: 1000, lastHitMs: 2000 });
});

test("RuleHistory goes on with a rule that went and came back, and counts nothing twice where it never went", (t) => {
  const history = new RuleHistory(place(t), "boot", 0);
  history.see(counted(5), 1000);
  history.leave(["7"]);
  assert.equal(history.areInForce(new Set(["7"]), 2000), false);
  assert.deepEqual(told(history.see(counted(9), 3000)), { packets: 9, bytes: 540, sinceMs: 1000, lastHitMs: 3000 });
  history.leave(["7"]);
  assert.equal(history.areInForce(new Set(), 4000), true);
  assert.deepEqual(told(history.see(counted(0), 5000)), { packets: 9, bytes: 540, sinceMs: 1000, lastHitMs: 3000 });
  // It counted more before it was looked at again than it had ever before.
  history.leave(["7"]);
  history.areInForce(new Set(), 6000);
  assert.deepEqual(told(history.see(counted(20), 7000)), { packets: 29, bytes: 1740, sinceMs: 1000, lastHitMs: 7000 });
});

test("RuleHistory survives its process and a reboot, and forgets what is gone for a week", async (t) => {
  const file = place(t);
  const first = new RuleHistory(file, "boot", 0);
  first.see(counted(5), 1000);
  first.see(counted(2, "8"), 1000);
  await first.save(1000);
  const second = new RuleHistory(file, "boot", 2000);
  assert.deepEqual(told(second.see(counted(6), 2000)), { packets: 6, bytes: 360, sinceMs: 1000, lastHitMs: 2000 });
  await second.save(2000);
  const rebooted = new RuleHistory(file, "another boot", hour);
  assert.deepEqual(told(rebooted.see(counted(1), hour)), { packets: 7, bytes: 420, sinceMs: 1000, lastHitMs: hour });
  await rebooted.save(hour);
  rebooted.see(counted(2), 2 * hour);
  await rebooted.save(9 * 24 * hour);
  const late = new RuleHistory(file, "another boot", 9 * 24 * hour);
  const again = told(late.see(counted(0, "8"), 9 * 24 * hour));
  assert.deepEqual(again, { packets: 0, bytes: 0, sinceMs: 9 * 24 * hour, lastHitMs: undefined });
});

test("RuleHistory begins anew where its file is damaged", async (t) => {
  const file = place(t);
  await file.save("{}");
  const other = new StateFile(file.path, "other", 1);
  assert.deepEqual(told(new RuleHistory(other, "boot", 5).see(counted(0), 5)), {
    packets: 0,
    bytes: 0,
    sinceMs: 5,
    lastHitMs: undefined,
  });
});
