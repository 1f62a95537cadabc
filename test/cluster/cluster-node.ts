import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "@bpfleet/daemon/testing";
import type { NodeState, NodeStateResult } from "@bpfleet/kinds";
import { TwoProcesses, type Programs } from "../kernel/two-processes.ts";
import type { ApiServer } from "./api-server.ts";

const root = join(import.meta.dirname, "../..");

/** Puts our CRDs and roles where they belong, as `kubectl apply -k` of a user does. */
export function install(server: ApiServer): void {
  const crds = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
  server.kubectl(["apply", "--server-side", "-k", join(root, "manifests/base/ebpf")]);
  server.kubectl(crds);
}

/** A node of a cluster as far as its daemon and agent go: no kubelet. The agent has its own rights, and no others. */
export class ClusterNode implements AsyncDisposable {
  readonly processes: TwoProcesses;
  readonly #server: ApiServer;
  readonly #agentEnv: Record<string, string>;

  private constructor(server: ApiServer, processes: TwoProcesses, apiServer: string) {
    this.#server = server;
    this.processes = processes;
    const { sandbox, near, far } = processes;
    // As the documents have it.
    sandbox.ip(far, "link", "set", "v0", "down");
    sandbox.ip(far, "link", "set", "v0", "name", "eth0");
    sandbox.ip(far, "link", "set", "eth0", "up");
    for (const source of documented) {
      sandbox.ip(near, "address", "add", `${source}/32`, "dev", "v0");
      sandbox.ip(far, "route", "add", `${source}/32`, "dev", "eth0");
    }
    // Bound to the node, by which the API server knows what it may write.
    const bound = ["--bound-object-kind=Node", "--bound-object-name=n1"];
    const token = server.kubectl(["create", "token", "bpfd-daemon", "-n", "kube-system", ...bound]).trim();
    const config = JSON.parse(server.kubectl(["config", "view", "--raw", "-o", "json"])) as Kubeconfig;
    const users = config.users.map(({ name }) => ({ name, user: { token } }));
    const path = join(sandbox.dir, "kubeconfig");
    const clusters = config.clusters.map(({ name, cluster }) => ({ name, cluster: { ...cluster, server: apiServer } }));
    writeFileSync(path, JSON.stringify({ ...config, clusters, users }));
    chmodSync(path, 0o644);
    this.#agentEnv = { KUBECONFIG: path };
  }

  static async make(
    server: ApiServer,
    {
      labels = {},
      programs,
      env = {},
      apiServer = server.url,
    }: {
      readonly labels?: Readonly<Record<string, string>>;
      readonly programs?: Programs;
      /** Of the daemon. */
      readonly env?: Readonly<Record<string, string>>;
      /** Where the agent finds the API server. */
      readonly apiServer?: string;
    } = {},
  ): Promise<ClusterNode> {
    const processes = await TwoProcesses.make(programs);
    Object.assign(processes.env, env);
    try {
      const object = { apiVersion: "v1", kind: "Node", metadata: { name: "n1", labels } };
      server.kubectl(["apply", "-f", "-"], JSON.stringify(object));
      const node = new ClusterNode(server, processes, apiServer);
      await processes.startDaemon();
      node.startAgent();
      return node;
    } catch (error) {
      await processes[Symbol.asyncDispose]();
      throw error;
    }
  }

  startAgent(env: Readonly<Record<string, string>> = {}): void {
    this.processes.startAgent({ ...this.#agentEnv, ...env });
  }

  async state(): Promise<NodeState | undefined> {
    const { status, body } = await this.#server.call("GET", "/apis/bpfleet.io/v1alpha1/nodestates/n1");
    return status === 200 ? (body as unknown as NodeState) : undefined;
  }

  async result(kind: string, name: string): Promise<NodeStateResult | undefined> {
    const results = (await this.state())?.status?.results ?? [];
    return results.find((result) => result.kind === kind && result.name === name);
  }

  /** Waits for it, and tells what the processes said when it does not come. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    try {
      await until(what, holds, 60_000);
    } catch (cause) {
      const said = (["daemon", "agent"] as const).map((name) => `${name}:\n${this.processes.said(name).slice(-6000)}`);
      const results = (await this.state().catch(() => undefined))?.status?.results;
      throw new Error(`${what}\n${said.join("\n")}\n${JSON.stringify(results)}`, { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.processes[Symbol.asyncDispose]();
  }
}

/** Sources that the documents block; 203.0.113.9 they do not. */
export const documented = ["192.168.1.100", "10.10.10.7", "203.0.113.9"] as const;

interface Kubeconfig {
  readonly clusters: readonly { readonly name: string; readonly cluster: object }[];
  readonly users: readonly { readonly name: string }[];
}
