import assert from "node:assert/strict";
import { get } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DaemonClient } from "@bpfleet/daemon/client";
import { until } from "@bpfleet/daemon/testing";
import { FrameSender, processorSeconds } from "./policy-rig/frame-sender.ts";
import { rigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig } from "./policy-rig/policy-rig.ts";

const floodMs = 8000;
const capPerSecond = 2000;
const pod = rigPod("x", "a", 1);

/** Drops whatever the pod sends. */
const closed = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "closed", namespace: "x" },
  spec: { podSelector: {}, policyTypes: ["Egress"] },
};

async function closedRig(): Promise<PolicyRig> {
  const rig = await PolicyRig.make("routed", [pod]);
  await rig.change({ write: [namespaceObject("x", {}), podObject(pod, rig.network.netnsOf(pod), {}), closed] });
  return rig;
}

/** What somebody hears who looks at drops. */
class Listener implements AsyncDisposable {
  readonly #daemon: DaemonClient;
  readonly #ending = new AbortController();
  readonly #tracing: Promise<void>;
  readonly reasons = new Set<string>();
  told = 0;
  missed = 0;

  constructor(socket: string) {
    this.#daemon = new DaemonClient(socket);
    this.#tracing = this.#listen();
  }

  async #listen(): Promise<void> {
    for await (const events of this.#daemon.trace({ every: 1, only: "drop" }, this.#ending.signal)) {
      this.told += events.length;
      for (const event of events) {
        this.missed += event.missed ?? 0;
        this.reasons.add(event.decision.reason);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    await this.#tracing;
    this.#daemon[Symbol.dispose]();
  }
}

test("a flood of dropped packets is told at a bounded rate, and it is said how much is missing", async (context) => {
  await using rig = await closedRig();
  const { dir } = rig.network.sandbox;
  const frames = new FrameSender(dir, rig.network.netnsOf(pod));
  await using listener = new Listener(join(dir, "node.sock"));
  const flood = frames.start();
  const [beganCpu, beganMs] = [processorSeconds(rig.pid), performance.now()];
  await sleep(floodMs);
  const seconds = (performance.now() - beganMs) / 1000;
  const cpu = (processorSeconds(rig.pid) - beganCpu) / seconds;
  const sent = await flood.end();
  await sleep(500);
  const { told, missed, reasons } = listener;
  await listener[Symbol.asyncDispose]();

  const rate = Math.round(told / seconds);
  context.diagnostic(
    `${Math.round(sent / seconds)} packets/s: ${rate} events/s, ${missed} missed, daemon ${Math.round(cpu * 100)} % of a processor`,
  );
  assert.ok(sent > 2 * capPerSecond * seconds, `${sent} sent: no flood`);
  assert.deepEqual([...reasons], ["not_ip_denied"]);
  assert.ok(told > 0 && rate <= capPerSecond * 1.25, `${rate} events a second`);
  assert.ok(missed > 0 && missed + told < sent * 1.5, `${missed} of ${sent} said to be missing`);

  // Calm again, each packet is told.
  await using calm = new Listener(join(dir, "node.sock"));
  await until("a packet is told", async () => {
    await frames.send(1);
    return calm.told > 0;
  });
});

test("what the kernel has no room for, since nobody reads, is counted and told", async (context) => {
  await using rig = await closedRig();
  const { dir } = rig.network.sandbox;
  const socket = join(dir, "node.sock");
  const frames = new FrameSender(dir, rig.network.netnsOf(pod));
  await using listener = new Listener(socket);
  let sent = 0;
  await until("a packet is told", async () => {
    sent += await frames.send(1);
    return listener.told > 0;
  });
  assert.equal(await readLost(socket), 0);
  process.kill(rig.pid, "SIGSTOP");
  try {
    sent += await frames.send(20_000);
  } finally {
    process.kill(rig.pid, "SIGCONT");
  }
  // What is missing is said with what comes next.
  await until("all are told of", async () => {
    if (listener.told + listener.missed >= 20_000) return true;
    sent += await frames.send(1);
    return false;
  });
  const { told, missed } = listener;
  const lost = await readLost(socket);
  context.diagnostic(`${told} of ${sent} told, ${missed} missed, ${lost} lost`);
  assert.ok(lost > 10_000 && lost < sent, `${lost} lost`);
  assert.ok(missed >= lost && missed + told < sent * 1.5, `${missed} of ${sent} said to be missing`);

  await listener[Symbol.asyncDispose]();
  await rig.stop();
  await rig.start();
  assert.equal(await readLost(socket), lost, "the count lives on");
});

/** As the metrics tell it. */
async function readLost(socket: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  get({ socketPath: `${socket}.metrics`, path: "/metrics" }, (answer) => resolve(text(answer))).on("error", reject);
  const found = /^bpfleet_events_lost_total\{what="verdict"\} (\d+)$/m.exec(await promise);
  assert.ok(found);
  return Number(found[1]);
}
