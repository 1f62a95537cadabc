import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildControlPlane, whyNoBuild } from "../../../tools/build-control-plane.ts";
import { buildWholeCluster } from "../../../tools/build-whole-cluster.ts";
import { Authority } from "./authority.ts";
import { ControlPlane } from "./control-plane.ts";
import { Network } from "./network.ts";
import { ClusterNode, groupsFor } from "./node.ts";
import type { Kubectl } from "./node.ts";
import { whyNoNode } from "./probe.ts";
import { Running } from "./processes.ts";
import { writeTestImages } from "./test-images.ts";

export interface WholeClusterOptions {
  /** How many nodes: n1, n2, … */
  readonly nodes?: number;
  /** Archives that every node has from its start. */
  readonly images?: readonly string[];
}

const sweeper = fileURLToPath(new URL("sweep.sh", import.meta.url));

/** Why no whole cluster can run here, or `undefined` when one can. */
export function wholeClusterAbsence(): string | undefined {
  if (process.getuid?.() !== 0) return "a whole cluster needs root";
  const places = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`.split(":");
  const missing = ["containerd", "ctr", "runc", "iptables", "unshare", "nsenter", "setpriv"].find(
    (name) => !places.some((place) => existsSync(join(place, name))),
  );
  if (missing !== undefined) return `${missing} is not installed; run make test, or tools/setup.sh test`;
  if (!existsSync("/bin/busybox")) return "busybox-static is not installed; run make test, or tools/setup.sh test";
  if (groupsFor("x").length < 2) return "no control groups of version 1 for a cluster of namespaces";
  return whyNoBuild() ?? whyNoNode();
}

/** A Kubernetes of real parts in namespaces of its own; nothing of it outlives this process, or leads out of it. */
export class WholeCluster implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  /** Where the API server is, and whoever wants to reach it. */
  readonly network: Network;
  readonly nodes: ClusterNode[] = [];
  /** Everything that it writes, its logs among it. */
  readonly folder: string;
  readonly kubeconfig: string;
  readonly #sweeper: ChildProcess;
  readonly #binaries: string;

  private constructor(
    folder: string,
    sweep: ChildProcess,
    network: Network,
    controlPlane: ControlPlane,
    binaries: string,
    kubeconfig: string,
  ) {
    this.folder = folder;
    this.#sweeper = sweep;
    this.network = network;
    this.controlPlane = controlPlane;
    this.#binaries = binaries;
    this.kubeconfig = kubeconfig;
  }

  static async start({ nodes = 1, images = [] }: WholeClusterOptions = {}): Promise<WholeCluster> {
    const binaries = buildControlPlane();
    const { node: moreBinaries, cni } = buildWholeCluster();
    const folder = mkdtempSync(join(tmpdir(), "bpfleet-whole-"));
    const names = Array.from({ length: nodes }, (_, at) => `n${at + 1}`);
    const label = (name: string): string => `bpfleet-whole-${process.pid}-${name}`;
    const groups = new Map(names.map((name) => [name, groupsFor(label(name))]));
    const sweep = spawn("setsid", ["sh", sweeper, folder, ...[...groups.values()].flat()], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    const logs = join(folder, "logs");
    mkdirSync(logs);
    mkdirSync(join(folder, "keys"), { mode: 0o700 });
    const network = await Network.open("switch", logs);
    const authority = new Authority(join(folder, "keys"));
    const controlPlane = new ControlPlane({ binaries, moreBinaries, folder, logs }, network, authority);
    const kubeconfig = authority.path("admin.kubeconfig");
    const cluster = new WholeCluster(folder, sweep, network, controlPlane, binaries, kubeconfig);
    try {
      await network.ip("link add switch0 type bridge", "addr add 10.77.0.1/24 dev switch0", "link set switch0 up");
      await network.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
      await controlPlane.start();
      const shared = join(folder, "test-images.tar");
      writeTestImages(shared);
      for (const [at, name] of names.entries()) {
        const home = join(folder, name);
        mkdirSync(home);
        const places = { binaries: moreBinaries, plugins: cni, folder: home, logs, images: [shared, ...images] };
        const own = groups.get(name) ?? [];
        cluster.nodes.push(await ClusterNode.prepare(at + 1, places, network, authority, cluster.kubectl, own));
      }
      await Promise.all(cluster.nodes.map((node) => node.start()));
      await cluster.until("default account", () => cluster.kubectl(["get", "serviceaccount", "default"]));
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  readonly kubectl: Kubectl = (args, input = "") => {
    const env = { PATH: process.env["PATH"], HOME: this.folder, KUBECONFIG: this.kubeconfig };
    return this.network.run([join(this.#binaries, "kubectl"), ...args], { input, env });
  };

  /** A kubectl that goes on until it is disposed of. */
  start(name: string, args: readonly string[]): Running {
    const command = [join(this.#binaries, "kubectl"), `--kubeconfig=${this.kubeconfig}`, ...args];
    return new Running(name, join(this.folder, "logs"), this.network.inside(command));
  }

  /** Asks again while it throws, or answers with `false`. */
  async until<T>(what: string, ask: () => Promise<T>, withinMs = 120_000): Promise<Exclude<T, false>> {
    const end = performance.now() + withinMs;
    for (;;) {
      let reason: unknown = "it said no";
      try {
        const answer = await ask();
        if (answer !== false) return answer as Exclude<T, false>;
      } catch (error) {
        reason = error;
      }
      if (performance.now() > end)
        throw new Error(`wait for ${what}: not after ${withinMs / 1000} s`, { cause: reason });
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await this.controlPlane.stop();
    await this.network.close();
    const swept = new Promise((resolve) => this.#sweeper.once("close", resolve));
    this.#sweeper.stdin?.end();
    await swept;
  }
}
