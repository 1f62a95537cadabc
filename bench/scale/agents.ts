/**
 * Many agents in one process: `agents.ts KUBECONFIG FIRST LAST whole|follower`. A whole one is the real agent of a node,
 * with connections of its own, over a daemon that says that everything is in force. A follower is all of it that speaks
 * with the API server at a change, without a plan: it holds the same watches and writes the same NodeState; some share
 * their connections, and at its start it does not look whether there are objects of other kinds. What is printed, and
 * read, is in lines.ts.
 */
import { createInterface } from "node:readline";
import { startClusterAgent } from "@bpfleet/agent";
import { ObedientDaemon, startClusterFollower, type ClusterFollower } from "@bpfleet/agent/testing";
import type { DaemonVersion } from "@bpfleet/daemon";
import { features } from "@bpfleet/features";
import type { Inventory } from "@bpfleet/kernel";
import { kinds, type KubeObject } from "@bpfleet/kinds";
import { connectKube, loadAccess, type KubeClient } from "@bpfleet/kube-client";
import { watchAddresses } from "./address-watch.ts";
import { declaredKinds } from "./declared.ts";
import { nodeName, versionOf, type AgentLine, type AgentWord } from "./lines.ts";

/** In one process; all of them together are what two processors can greet in time. */
const startedAtOnce = 6;
/** Four watches of each fit into the hundred streams that an API server allows on one connection. */
const followersOfClient = 20;
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
const changed = kinds.filter(({ kind }) => declaredKinds.has(kind));
const clients = new Map<number, KubeClient>();
const followers: ClusterFollower[] = [];
let started = 0;
let notices = 0;

function clientOf(at: number): KubeClient {
  const number = sort === "follower" ? Math.floor(at / followersOfClient) : at;
  const client = clients.get(number) ?? connectKube(loadAccess({ env: process.env, kubeconfig }));
  clients.set(number, client);
  return client;
}

function has(version: string): void {
  const times = seen.get(version) ?? [];
  times.push(Date.now());
  seen.set(version, times);
}

async function start(name: string): Promise<AsyncDisposable> {
  const known = new Set<string>();
  const see = (objects: readonly KubeObject[]): void => {
    for (const { kind, metadata } of objects) {
      const version = versionOf(metadata);
      if (!declaredKinds.has(kind) || known.has(`${kind} ${version}`)) continue;
      known.add(`${kind} ${version}`);
      has(version);
    }
  };
  const shared = {
    client: clientOf(started++),
    nodeName: name,
    onNotice: (notice: string): void => {
      if (++notices <= 5) process.stderr.write(`${name}: ${notice}\n`);
    },
  };
  if (sort === "follower") {
    const follower = await startClusterFollower({ ...shared, kinds: changed, onObjects: see });
    followers.push(follower);
    return follower;
  }
  return startClusterAgent({
    ...shared,
    kinds,
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
createInterface(process.stdin).on("line", (line) => {
  const word = line as AgentWord;
  if (word !== "addresses") for (const follower of followers) follower.carry(word === "traffic");
  else
    void watchAddresses(() => connectKube(loadAccess({ env: process.env, kubeconfig })), followers.length, has).then(
      () => say({ is: "watching" }),
    );
});
const told = new Map<string, number>();
setInterval(() => {
  for (const [version, times] of seen) {
    if (told.get(version) === times.length) continue;
    told.set(version, times.length);
    say({ is: "seen", version, times });
  }
}, sayMs);
