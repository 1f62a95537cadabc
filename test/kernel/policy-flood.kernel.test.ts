import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DaemonClient } from "@bpfleet/daemon/client";
import { rigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig } from "./policy-rig/policy-rig.ts";

const source = join(import.meta.dirname, "../../packages/native/testdata/send-frames.c");
const floodMs = 8000;
const capPerSecond = 2000;

/** Seconds of processor that a process has taken; the clock of /proc ticks a hundred times a second. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

test("a flood of dropped packets is told at a bounded rate, at little cost, and it is said how much is missing", async (context) => {
  const a = rigPod("x", "a", 1);
  await using rig = await PolicyRig.make("routed", [a]);
  const { dir } = rig.network.sandbox;
  const netns = rig.network.netnsOf(a);
  const policy = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "closed", namespace: "x" },
    spec: { podSelector: {}, policyTypes: ["Egress"] },
  };
  await rig.change({ write: [namespaceObject("x", {}), podObject(a, netns, {}), policy] });
  const program = join(dir, "send-frames");
  execFileSync("clang", ["-O2", source, "-o", program]);
  const [{ ifindex }] = JSON.parse(
    execFileSync("ip", ["-n", netns, "-j", "link", "show", "eth0"], { encoding: "utf8" }),
  ) as [{ readonly ifindex: number }];

  using daemon = new DaemonClient(join(dir, "node.sock"));
  const ending = new AbortController();
  let [told, missed] = [0, 0];
  const reasons = new Set<string>();
  const tracing = (async () => {
    for await (const events of daemon.trace({ every: 1, only: "drop" }, ending.signal)) {
      told += events.length;
      for (const event of events) {
        missed += event.missed ?? 0;
        reasons.add(event.decision.reason);
      }
    }
  })();
  const sender = spawn("ip", ["netns", "exec", netns, program, String(ifindex), "0x88b5", "64"]);
  const said = text(sender.stdout);
  const ended = once(sender, "exit");
  const [beganCpu, beganMs] = [cpuSeconds(rig.pid), performance.now()];
  await sleep(floodMs);
  const seconds = (performance.now() - beganMs) / 1000;
  const cpu = (cpuSeconds(rig.pid) - beganCpu) / seconds;
  sender.kill("SIGTERM");
  await ended;
  const sent = Number((await said).trim().split("\n").at(-1));
  await sleep(500);
  ending.abort();
  await tracing;

  const rate = Math.round(told / seconds);
  context.diagnostic(
    `${Math.round(sent / seconds)} packets/s: ${rate} events/s, ${missed} missed, daemon ${Math.round(cpu * 100)} % of a processor`,
  );
  assert.ok(sent > 2 * capPerSecond * seconds, `${sent} sent: no flood`);
  assert.deepEqual([...reasons], ["not_ip_denied"]);
  assert.ok(told > 0 && rate <= capPerSecond * 1.25, `${rate} events a second`);
  assert.ok(missed > 0 && missed + told < sent * 1.5, `${missed} of ${sent} said to be missing`);
  assert.ok(cpu < 0.6, `the daemon took ${cpu} of a processor`);

  // Calm again, each packet is told.
  const after = new AbortController();
  const calm = { told: 0 };
  const looking = (async () => {
    for await (const events of daemon.trace({ every: 1, only: "drop" }, after.signal)) calm.told += events.length;
  })();
  for (let tries = 0; tries < 100 && calm.told === 0; tries++) {
    const one = spawn("ip", ["netns", "exec", netns, program, String(ifindex), "0x88b5", "64"]);
    await sleep(50);
    one.kill("SIGTERM");
    await once(one, "exit");
  }
  after.abort();
  await looking;
  assert.ok(calm.told > 0);
});
