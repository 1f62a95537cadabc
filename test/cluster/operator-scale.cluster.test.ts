import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { smallNodeWords } from "../../tools/images/node-start.ts";
import {
  nodeObject,
  nodes,
  startFleetCluster,
  tellNodeState,
  until,
  type FleetCluster,
  type SimulatedResult,
} from "./fleet-cluster.ts";
import { programs } from "./reported.ts";

const skip = whyNoBuild();
/** 1000 and 5000 by hand: they take some minutes. */
const nodeCount = Number(process.env["BPFLEET_SCALE_NODES"] ?? 100);
const objectCount = 20;
/** As the image runs it. */
const program = [...smallNodeWords(process.execPath), "--max-old-space-size=64"];
const main = join(import.meta.dirname, "../../apps/operator/src/main.ts");

let cluster: FleetCluster;
let replica: ChildProcess | undefined;
let metricsUrl = "";
let objects: readonly AnyObject[] = [];
const names = Array.from({ length: nodeCount }, (_, index) => `n${index}`);

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  const make = (index: number): Promise<AnyObject> =>
    cluster.admin.create<AnyObject>(programs, {
      apiVersion: "networking.fos1.io/v1alpha1",
      kind: "EBPFProgram",
      metadata: { name: `p${index}`, namespace: "default" },
      spec: { type: "xdp", interface: "eth0" },
    });
  objects = await Promise.all(Array.from({ length: objectCount }, (_, index) => make(index)));
  await inParallel(names, async (name) => {
    await cluster.admin.create<AnyObject>(nodes, nodeObject(name));
    await tell(name, 1, false, false);
  });
});

after(async () => {
  replica?.kill("SIGKILL");
  await cluster?.[Symbol.asyncDispose]();
});

async function inParallel(items: readonly string[], work: (item: string) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

/** What a node says of all objects; of the first one also that it fails. */
function tell(node: string, packets: number, failing = false, isThere = true): Promise<void> {
  const results = objects.map(({ metadata, kind }, index): SimulatedResult => {
    const isBad = failing && index === 0;
    return {
      group: programs.group,
      kind,
      namespace: "default",
      name: metadata.name,
      uid: metadata.uid,
      generation: metadata.generation,
      state: isBad ? "Failed" : "InForce",
      conditions: ["Ready", "Accepted", "Loaded", "Attached"].map((type) => ({
        type,
        status: isBad ? "False" : "True",
        reason: isBad ? "VerifierRejected" : type,
        message: isBad ? "R1 is no pointer" : "in force",
      })),
      numbers: { "/metrics/packetsPassed": packets, "/metrics/packetsDropped": 2 * packets },
    };
  });
  return tellNodeState(cluster.admin, node, results, isThere);
}

/** The sum of all samples of a metric with these labels. */
async function metric(name: string, labels = ""): Promise<number> {
  const text = await (await fetch(metricsUrl)).text();
  const lines = text.split("\n").filter((line) => line.startsWith(name) && line.includes(labels));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

const statusWrites = (): Promise<number> => metric("bpfleet_operator_writes_total", 'verb="status"');

async function statusOf(index: number): Promise<{
  readonly nodes?: { readonly ready: number; readonly total: number };
  readonly metrics?: { readonly packetsPassed: number };
}> {
  return (
    (await cluster.admin.get<AnyObject & { readonly status?: object }>({ ...programs, name: `p${index}` })).status ?? {}
  );
}

async function startReplica(): Promise<void> {
  const child = spawn("setpriv", ["--pdeathsig", "KILL", ...program, main], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      PATH: process.env["PATH"],
      KUBECONFIG: cluster.kubeconfigOf("podconfigmap-controller"),
      POD_NAME: "a",
      METRICS_ADDR: "127.0.0.1:0",
    },
  });
  replica = child;
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (log += text));
  const port = await until("it serves metrics", () => /metrics on port (\d+)/.exec(log)?.[1]);
  metricsUrl = `http://127.0.0.1:${port}/metrics`;
}

test(
  `one operator makes the statuses of ${objectCount} objects on ${nodeCount} nodes with few writes`,
  { skip, timeout: 1_200_000 },
  async (t) => {
    const begin = performance.now();
    await startReplica();
    for (let index = 0; index < objectCount; index++)
      await until(
        `object ${index} is counted`,
        async () => ((await statusOf(index)).nodes?.ready === nodeCount ? true : undefined),
        300_000,
      );
    const seconds = (performance.now() - begin) / 1000;
    const first = await statusWrites();
    assert.equal((await statusOf(3)).metrics?.packetsPassed, nodeCount);
    assert.ok(first <= 2 * objectCount, `${first} writes of ${objectCount} objects`);
    t.diagnostic(
      `start to all ${objectCount} statuses of ${nodeCount} nodes: ${seconds.toFixed(1)} s, ${first} writes`,
    );
  },
);

test(
  "a change on every node is about a write a second of one object, and none of the others",
  { skip, timeout: 1_200_000 },
  async (t) => {
    await sleep(2000);
    const [before, cpuBefore, begin] = [
      await statusWrites(),
      await metric("process_cpu_seconds_total"),
      performance.now(),
    ];
    await inParallel(names, (name) => tell(name, 1, true));
    const told = performance.now();
    await until(
      "all nodes are counted",
      async () => ((await statusOf(0)).nodes?.ready === 0 ? true : undefined),
      300_000,
    );
    const [toldSeconds, lateMs] = [(told - begin) / 1000, performance.now() - told];
    const writes = (await statusWrites()) - before;
    assert.ok(writes <= toldSeconds + lateMs / 1000 + 3, `${writes} writes in ${toldSeconds} s`);
    const cpu = (await metric("process_cpu_seconds_total")) - cpuBefore;
    t.diagnostic(
      `${nodeCount} nodes told within ${toldSeconds.toFixed(1)} s: ${writes} writes, the last ${lateMs.toFixed(0)} ms after the last node; ${cpu.toFixed(1)} s of CPU`,
    );
  },
);

test("numbers alone are written at the slow pace", { skip, timeout: 1_200_000 }, async (t) => {
  await sleep(2000);
  const [before, begin] = [await statusWrites(), performance.now()];
  await inParallel(names, (name) => tell(name, 5, true));
  await until(
    "the sum is there",
    async () => ((await statusOf(3)).metrics?.packetsPassed === 5 * nodeCount ? true : undefined),
    300_000,
  );
  const seconds = (performance.now() - begin) / 1000;
  const writes = (await statusWrites()) - before;
  assert.ok(writes <= objectCount * (Math.floor(seconds / 30) + 2), `${writes} writes in ${seconds} s`);
  t.diagnostic(`numbers of ${objectCount} objects on ${nodeCount} nodes: ${writes} writes in ${seconds.toFixed(1)} s`);
});

test(
  "while nothing changes nothing is written, and the operator stays within the memory that its manifest gives it",
  { skip },
  async (t) => {
    // Numbers that changed just before are written within half a minute.
    await sleep(31_000);
    const [writes, cpu] = [await metric("bpfleet_operator_writes_total"), await metric("process_cpu_seconds_total")];
    await sleep(10_000);
    assert.equal(await metric("bpfleet_operator_writes_total"), writes);
    const idle = ((await metric("process_cpu_seconds_total")) - cpu) / 10;
    const [mib, anonymous] = [memoryMib("VmRSS"), memoryMib("RssAnon")];
    t.diagnostic(
      `${nodeCount} nodes: ${mib.toFixed(0)} MiB resident, ${anonymous.toFixed(0)} of it not of files; ${(100 * idle).toFixed(1)} % of a CPU at rest`,
    );
    // What the manifest gives it; larger fleets are given more.
    if (nodeCount <= 300) assert.ok(anonymous < 128, `${anonymous} MiB`);
  },
);

function memoryMib(line: string): number {
  const status = readFileSync(`/proc/${replica?.pid}/status`, "utf8");
  return Number(new RegExp(`^${line}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1024;
}
