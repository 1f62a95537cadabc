import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { connectKube, loadAccess, type KubeClient } from "@bpfleet/kube-client";
import { startApiServer, type ApiServer } from "../../test/cluster/api-server.ts";
import { buildControlPlane } from "../../tools/build-control-plane.ts";
import { buildKwok } from "../../tools/build-whole-cluster.ts";
import { bundle } from "../../tools/images/bundle.ts";
import { nodeName, type AgentLine } from "./lines.ts";

const root = join(import.meta.dirname, "../..");
const createdAtOnce = 32;
const agentsPerProcess = 500;

/** A control plane with simulated nodes and pods, the real operator, and the real agent of each of some nodes. */
export class SimulatedFleet implements AsyncDisposable {
  readonly client: KubeClient;
  readonly #server: ApiServer;
  readonly #children: ChildProcess[] = [];
  readonly #progress: (line: string) => void;
  readonly #seen = new Map<ChildProcess, Map<string, readonly number[]>>();

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
    const { program, stages } = buildKwok();
    fleet.#spawn(program, [
      `--kubeconfig=${server.kubeconfig}`,
      `--config=${stages}`,
      "--manage-all-nodes=false",
      "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
      "--node-lease-duration-seconds=1200",
      "--cidr=10.192.0.0/10",
      "--node-ip=10.77.0.1",
      "--server-address=127.0.0.1:0",
    ]);
    server.kubectl(["apply", "--server-side", `--kustomize=${join(root, "manifests/base/ebpf")}`]);
    return fleet;
  }

  /** Nodes with a number from `first` on; resolves when all are Ready. */
  async addNodes(first: number, last: number): Promise<void> {
    const resources = { cpu: "32", memory: "256Gi", pods: "250" };
    await this.#each(first, last, (at) =>
      this.client.create({ group: "", version: "v1", plural: "nodes" }, {
        apiVersion: "v1",
        kind: "Node",
        metadata: {
          name: nodeName(at),
          annotations: { "kwok.x-k8s.io/node": "fake" },
          labels: { "kubernetes.io/hostname": nodeName(at), "kubernetes.io/os": "linux" },
        },
        status: { allocatable: resources, capacity: resources },
      } as never),
    );
    await this.#settled("nodes", last, "Ready");
  }

  /** Pods, as many on each of `nodes` nodes; resolves when all are Ready. */
  async addPods(first: number, last: number, nodes: number): Promise<void> {
    await this.#each(first, last, (at) =>
      this.client.create({ group: "", version: "v1", plural: "pods", namespace: "default" }, {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: `pod-${at}`, namespace: "default", labels: { app: `app-${at % 200}` } },
        spec: { nodeName: nodeName(at % nodes), containers: [{ name: "main", image: "none" }] },
      } as never),
    );
    await this.#settled("pods", last, "Ready");
  }

  /** As its image has it: bundled. */
  async startOperator(scratch: string): Promise<ChildProcess> {
    const { files } = await bundle(root, { operator: "apps/operator/src/main.ts" }, root);
    const folder = join(scratch, "operator");
    mkdirSync(folder);
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
    return this.#spawn(process.execPath, ["--max-semi-space-size=2", join(folder, "operator.js")], {
      KUBECONFIG: this.#server.kubeconfig,
      POD_NAME: "operator-0",
      POD_NAMESPACE: "kube-system",
      METRICS_ADDR: "",
      LOG_LEVEL: "error",
    });
  }

  /** Resolves when each has read all that is declared. */
  async startAgents(from: number, to: number): Promise<void> {
    const ready: Promise<void>[] = [];
    for (let first = from; first < to; first += agentsPerProcess) {
      const last = Math.min(first + agentsPerProcess, to);
      const script = join(import.meta.dirname, "agents.ts");
      const child = this.#spawn(process.execPath, [script, this.#server.kubeconfig, String(first), String(last)]);
      const seen = new Map<string, readonly number[]>();
      this.#seen.set(child, seen);
      ready.push(
        new Promise((resolve, reject) => {
          child.once("exit", (code) => reject(new Error(`simulated agents ended with ${code}`)));
          if (child.stdout === null) return;
          createInterface(child.stdout).on("line", (text) => {
            const line = JSON.parse(text) as AgentLine;
            if (line.is === "ready") resolve();
            else seen.set(line.version, line.times);
          });
        }),
      );
    }
    await Promise.all(ready);
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

  /** Requests that changed something so far, those for leases and events left out. */
  async writes(): Promise<number> {
    const text = String(await this.client.request({ method: "GET", path: "/metrics" }));
    let sum = 0;
    for (const [, labels = "", value] of text.matchAll(/^apiserver_request_total\{([^}]*)\} (\S+)$/gm))
      if (/verb="(POST|PUT|PATCH|APPLY|DELETE)"/.test(labels) && !/resource="(leases|events)"/.test(labels))
        sum += Number(value);
    return sum;
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
      stdio: ["ignore", "pipe", program.endsWith("kwok") ? "ignore" : "inherit"],
    });
    child.stdout?.resume();
    this.#children.push(child);
    return child;
  }

  async #each(first: number, last: number, make: (at: number) => Promise<unknown>): Promise<void> {
    let next = first;
    await Promise.all(
      Array.from({ length: createdAtOnce }, async () => {
        while (next < last) await make(next++);
      }),
    );
  }

  async #settled(plural: "nodes" | "pods", count: number, condition: string): Promise<void> {
    interface Conditioned {
      readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
    }
    const limit = Number.POSITIVE_INFINITY;
    for (let waited = 0; waited < limit; waited++) {
      let ready = 0;
      for await (const page of this.client.pages({ group: "", version: "v1", plural }, { limit: 2000 }))
        for (const { status } of page as unknown as readonly Conditioned[])
          if (status?.conditions?.some(({ type, status: is }) => type === condition && is === "True") === true) ready++;
      this.#progress(`${ready} of ${count} ${plural} are ready`);
      if (ready >= count) return;
      await sleep(3000);
    }
  }
}

/** Seconds of processor, and MiB that are its own: what its control group is charged for. */
export function usageOf({ pid = 0 }: ChildProcess): { readonly cpuSeconds: number; readonly mebibytes: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  const ticks = Number(fields[11]) + Number(fields[12]);
  const [, kibibytes] = /^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return { cpuSeconds: ticks / 100, mebibytes: Number(kibibytes) / 1024 };
}
