/**
 * Many agents in one process: `agents.ts KUBECONFIG FIRST LAST`. Each is the real agent of a node, with a connection of
 * its own, over a daemon that says that everything is in force. What it prints is in lines.ts.
 */
import { startClusterAgent, type Agent } from "@bpfleet/agent";
import { ObedientDaemon } from "@bpfleet/agent/testing";
import type { DaemonVersion } from "@bpfleet/daemon";
import { features } from "@bpfleet/features";
import type { Inventory } from "@bpfleet/kernel";
import { kinds } from "@bpfleet/kinds";
import { connectKube, loadAccess } from "@bpfleet/kube-client";
import { nodeName, versionOf, type AgentLine } from "./lines.ts";

const startedAtOnce = 8;
const sayMs = 200;
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const [kubeconfig = "", first = "0", last = "0"] = process.argv.slice(2);

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

async function start(name: string): Promise<Agent> {
  const known = new Set<string>();
  return startClusterAgent({
    client: connectKube(loadAccess({ env: process.env, kubeconfig })),
    nodeName: name,
    version: "0.1.0",
    kinds,
    features,
    clock,
    follow: { cilium: false, calico: false },
    daemon: new SimulatedDaemon(),
    onNotice: (notice) => {
      if (++notices <= 5) process.stderr.write(`${name}: ${notice}\n`);
    },
    onReports: ({ reports }) => {
      for (const { ref, object } of reports) {
        const version = versionOf(object.metadata);
        if (ref.kind !== "EBPFProgram" || known.has(version)) continue;
        known.add(version);
        const times = seen.get(version) ?? [];
        times.push(Date.now());
        seen.set(version, times);
      }
    },
  });
}

function say(line: AgentLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const agents: Agent[] = [];
const waiting = Array.from({ length: Number(last) - Number(first) }, (_, at) => nodeName(Number(first) + at));
await Promise.all(
  Array.from({ length: startedAtOnce }, async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) agents.push(await start(name));
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
