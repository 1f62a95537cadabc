/**
 * Many agents in one process: `agents.ts KUBECONFIG FIRST LAST whole|follower`. Each has connections of its own. A whole
 * one is the real agent of a node over a daemon that says that everything is in force; a follower is all of it that
 * speaks with the API server at a change, without a plan. What it prints is in lines.ts.
 */
import { startClusterAgent } from "@bpfleet/agent";
import { ObedientDaemon, startClusterFollower } from "@bpfleet/agent/testing";
import type { DaemonVersion } from "@bpfleet/daemon";
import { features } from "@bpfleet/features";
import type { Inventory } from "@bpfleet/kernel";
import { kinds, type KubeObject } from "@bpfleet/kinds";
import { connectKube, loadAccess } from "@bpfleet/kube-client";
import { nodeName, versionOf, type AgentLine } from "./lines.ts";

const startedAtOnce = 8;
const sayMs = 200;
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const [kubeconfig = "", first = "0", last = "0", sort = "whole"] = process.argv.slice(2);

class SimulatedDaemon extends ObedientDaemon {
  version(): DaemonVersion {
    return { version: "0.1.0", kernel: "6.18", node: process.version, libbpf: "1.7" };
  }
  async inventory(): Promise<Inventory> {
    return { programs: [], maps: [], links: [], interfaces: [] } as unknown as Inventory;
  }
}

/** Version of the object → when each agent had planned for it, since the epoch. */
const seen = new Map<string, number[]>();
let notices = 0;

async function start(name: string): Promise<AsyncDisposable> {
  const known = new Set<string>();
  const see = (objects: readonly KubeObject[]): void => {
    for (const { kind, metadata } of objects) {
      const version = versionOf(metadata);
      if (kind !== "EBPFProgram" || known.has(version)) continue;
      known.add(version);
      const times = seen.get(version) ?? [];
      times.push(Date.now());
      seen.set(version, times);
    }
  };
  const shared = {
    client: connectKube(loadAccess({ env: process.env, kubeconfig })),
    nodeName: name,
    kinds,
    onNotice: (notice: string): void => {
      if (++notices <= 5) process.stderr.write(`${name}: ${notice}\n`);
    },
  };
  if (sort === "follower") return startClusterFollower({ ...shared, onObjects: see });
  return startClusterAgent({
    ...shared,
    version: "0.1.0",
    features,
    clock,
    follow: { cilium: false, calico: false },
    daemon: new SimulatedDaemon(),
    onReports: ({ reports }) => see(reports.map(({ object }) => object)),
  });
}

function say(line: AgentLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const agents: AsyncDisposable[] = [];
const waiting = Array.from({ length: Number(last) - Number(first) }, (_, at) => nodeName(Number(first) + at));
await Promise.all(
  Array.from({ length: startedAtOnce }, async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      agents.push(await start(name));
      if (agents.length % 250 === 0) say({ is: "started", agents: agents.length });
    }
  }),
);
say({ is: "ready", agents: agents.length });
const told = new Map<string, number>();
setInterval(() => {
  for (const [version, times] of seen) {
    if (told.get(version) === times.length) continue;
    told.set(version, times.length);
    say({ is: "seen", version, times });
  }
}, sayMs);
