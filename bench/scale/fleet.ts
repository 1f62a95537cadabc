import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { connectKube, loadAccess, type KubeClient } from "@bpfleet/kube-client";
import type { ResourceAddress } from "@bpfleet/kube";
import { startApiServer, type ApiServer } from "../../test/cluster/api-server.ts";
import { buildControlPlane } from "../../tools/build-control-plane.ts";
import { bundle } from "../../tools/images/bundle.ts";
import { smallNodeWords } from "../../tools/images/node-start.ts";
import type { AgentLine, AgentWord } from "./lines.ts";
import { putObjects, storedNode, storedPod, type StoredObject } from "./store-objects.ts";

const root = join(import.meta.dirname, "../..");
/** Pods are in so many namespaces. */
const namespaces = 100;
const agentsPerProcess = 500;
/** Half of what the guide gives an operator of 5,000 nodes, as its Deployment takes of its limit. */
const operatorHeapMib = 128;

/**
 * A control plane with nodes and pods that are objects only, as kwok has them, the real operator, and the real agent of
 * each of some nodes.
 */
export class SimulatedFleet implements AsyncDisposable {
  readonly client: KubeClient;
  readonly #server: ApiServer;
  readonly #children: ChildProcess[] = [];
  readonly #progress: (line: string) => void;
  readonly #seen = new Map<ChildProcess, Map<string, readonly number[]>>();
  readonly #followers: { readonly child: ChildProcess; readonly watching: Promise<void> }[] = [];

  private constructor(server: ApiServer, progress: (line: string) => void) {
    this.#server = server;
    this.#progress = progress;
    this.client = connectKube(loadAccess({ env: {}, kubeconfig: server.kubeconfig }));
  }

  static async start(progress: (line: string) => void): Promise<SimulatedFleet> {
    const server = await startApiServer(buildControlPlane(), [
      "--enable-priority-and-fairness=false",
      "--max-requests-inflight=4000",
      "--max-mutating-requests-inflight=2000",
    ]);
    const fleet = new SimulatedFleet(server, progress);
    server.kubectl(["apply", "--server-side", `--kustomize=${join(root, "manifests/base/ebpf")}`]);
    return fleet;
  }

  /** Nodes with a number from `first` on, Ready. */
  async addNodes(first: number, last: number): Promise<void> {
    await putObjects(this.#server.store, range(first, last, storedNode));
    await this.#stored(() => this.#amount({ group: "", version: "v1", plural: "nodes" }), last, "nodes");
  }

  /** Running pods, as many on each of `nodes` nodes. */
  async addPods(first: number, last: number, nodes: number): Promise<void> {
    if (first === 0)
      for (let at = 0; at < namespaces; at++)
        await this.client.create({ group: "", version: "v1", plural: "namespaces" }, {
          apiVersion: "v1",
          kind: "Namespace",
          metadata: { name: namespaceName(at) },
        } as never);
    await putObjects(
      this.#server.store,
      range(first, last, (at) => storedPod(at, nodes, namespaceName(at % namespaces))),
    );
    await this.#stored(() => this.#amount({ group: "", version: "v1", plural: "pods" }), last, "pods");
  }

  /** As its image has it: bundled. */
  async startOperator(scratch: string): Promise<ChildProcess> {
    const { files } = await bundle(root, { operator: "apps/operator/src/main.ts" }, root);
    const folder = join(scratch, "operator");
    mkdirSync(folder);
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
    const [word = "", ...words] = smallNodeWords(process.execPath);
    return this.#spawn(word, [...words, join(folder, "operator.js")], {
      KUBECONFIG: this.#server.kubeconfig,
      POD_NAME: "operator-0",
      POD_NAMESPACE: "kube-system",
      METRICS_ADDR: "",
      LOG_LEVEL: "error",
      NODE_OPTIONS: `--max-old-space-size=${operatorHeapMib}`,
    });
  }

  /** Resolves when each has read all that is declared. */
  async startAgents(sort: "whole" | "follower", from: number, to: number): Promise<void> {
    const ready: Promise<void>[] = [];
    for (let first = from; first < to; first += agentsPerProcess) {
      const last = Math.min(first + agentsPerProcess, to);
      const script = join(import.meta.dirname, "agents.ts");
      // On machines of their own they would not take from the server, which then has to greet them all again.
      const args = ["-n", "10", process.execPath, script, this.#server.kubeconfig, String(first), String(last), sort];
      const child = this.#spawn("nice", args);
      const seen = new Map<string, readonly number[]>();
      this.#seen.set(child, seen);
      const watching = Promise.withResolvers<void>();
      if (sort === "follower") this.#followers.push({ child, watching: watching.promise });
      ready.push(
        new Promise((resolve, reject) => {
          child.once("exit", (code) => reject(new Error(`simulated agents ended with ${code}`)));
          if (child.stdout === null) return;
          createInterface(child.stdout).on("line", (text) => {
            const line = JSON.parse(text) as AgentLine;
            if (line.is === "started") this.#progress(`${line.agents} agents of a process have started`);
            else if (line.is === "ready") resolve();
            else if (line.is === "watching") watching.resolve();
            else seen.set(line.version, line.times);
          });
        }),
      );
    }
    await Promise.all(ready);
  }

  /** Followers carry traffic from now on, or rest. */
  tell(word: Exclude<AgentWord, "addresses">): void {
    for (const { child } of this.#followers) child.stdin?.write(`${word}\n`);
  }

  /** Followers hear of every address from now on. */
  async watchAddresses(): Promise<void> {
    for (const { child } of this.#followers) child.stdin?.write("addresses\n");
    await Promise.all(this.#followers.map(({ watching }) => watching));
  }

  /** As somebody else's writes leave them, at once. */
  store(objects: Iterable<StoredObject>): Promise<void> {
    return putObjects(this.#server.store, objects);
  }

  /** MiB that the store wrote to its log so far. */
  async storeMib(): Promise<number> {
    const text = await (await fetch(`${this.#server.store}/metrics`)).text();
    return Number(/^etcd_disk_wal_write_bytes_total (\S+)$/m.exec(text)?.[1]) / 1024 ** 2;
  }

  /** When each agent had a version of the program; once all `count` have it. */
  async seenBy(count: number, version: string, withinMs: number): Promise<readonly number[]> {
    const end = performance.now() + withinMs;
    for (;;) {
      const times = [...this.#seen.values()].flatMap((seen) => seen.get(version) ?? []);
      if (times.length >= count) return times;
      if (performance.now() > end) throw new Error(`wait for ${version}: ${times.length} of ${count} agents had it`);
      await sleep(100);
    }
  }

  /** A server that is busy with the agents is asked again. */
  async #metrics(): Promise<string> {
    const end = performance.now() + 300_000;
    for (;;) {
      try {
        return String(await this.client.request({ method: "GET", path: "/metrics" }));
      } catch (error) {
        if (performance.now() > end) throw error;
        await sleep(1000);
      }
    }
  }

  /** Requests that changed something so far, those for leases and events left out. */
  async writes(): Promise<number> {
    const text = await this.#metrics();
    let sum = 0;
    for (const [, labels = "", value] of text.matchAll(/^apiserver_request_total\{([^}]*)\} (\S+)$/gm))
      if (/verb="(POST|PUT|PATCH|APPLY|DELETE)"/.test(labels) && !/resource="(leases|events)"/.test(labels))
        sum += Number(value);
    return sum;
  }

  count(plural: "addressslices" | "nodestates"): Promise<number> {
    return this.#amount({ group: "bpfleet.io", version: "v1alpha1", plural });
  }

  /** Watches that the API server holds now. */
  async watches(): Promise<number> {
    const text = await this.#metrics();
    const lines = text.matchAll(/^apiserver_longrunning_requests\{[^}]*verb="WATCH"[^}]*\} (\S+)$/gm);
    return lines.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** Of the API server. */
  async serverUsage(): Promise<{ readonly cpuSeconds: number; readonly mebibytes: number }> {
    const text = await this.#metrics();
    const metric = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
    return {
      cpuSeconds: metric("process_cpu_seconds_total"),
      mebibytes: metric("process_resident_memory_bytes") / 1024 ** 2,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    await this.client[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
  }

  #spawn(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    // Gone with us, however we end.
    const child = spawn("setpriv", ["--pdeathsig", "KILL", program, ...args], {
      env: { ...process.env, ...env },
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdout?.resume();
    this.#children.push(child);
    return child;
  }

  async #amount(type: ResourceAddress): Promise<number> {
    const { items, remaining = 0 } = await this.client.list(type, { limit: 1 });
    return items.length + remaining;
  }

  async #stored(amount: () => Promise<number>, wanted: number, what: string): Promise<void> {
    for (let there = 0; ; await sleep(1000)) {
      if ((there = await amount()) < wanted) continue;
      this.#progress(`${there} ${what}`);
      return;
    }
  }
}

function* range<T>(first: number, last: number, make: (at: number) => T): Generator<T> {
  for (let at = first; at < last; at++) yield make(at);
}

export function namespaceName(number: number): string {
  return `team-${number}`;
}

/** Seconds of processor, and MiB that are its own: what its control group is charged for. */
export function usageOf({ pid = 0 }: ChildProcess): { readonly cpuSeconds: number; readonly mebibytes: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  const ticks = Number(fields[11]) + Number(fields[12]);
  const [, kibibytes] = /^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return { cpuSeconds: ticks / 100, mebibytes: Number(kibibytes) / 1024 };
}
