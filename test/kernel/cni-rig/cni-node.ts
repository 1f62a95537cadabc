import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { LineProcess } from "@bpfleet/daemon/testing";
import type { KubeObject } from "@bpfleet/kinds";
import { KernelSandbox } from "@bpfleet/native/testing";
import { buildWholeCluster } from "../../../tools/build-whole-cluster.ts";
import type { RunNodeAnswer, RunNodeCommand, RunNodeOptions } from "../policy-rig/run-node.ts";
import {
  FirstPackets,
  PluginChain,
  startIn,
  type AttachedPod,
  type NetworkList,
  type PluginRun,
} from "./first-packet.ts";

const script = join(import.meta.dirname, "../policy-rig/run-node.ts");
const built = join(import.meta.dirname, "../../../build");
export const plugin: string = join(built, "cni/bpfleet-cni");
export const [deniedPort, allowedPort] = [9999, 9998] as const;
const peerMac = "02:00:00:00:00:01";

export interface CniPod extends AttachedPod {
  readonly address: string;
  /** Path below the mount, as the pod's annotation has it, and the folder. */
  readonly cgroup: { readonly path: string; readonly folder: string };
}

interface SendingAs {
  /** The pod's cgroup. */
  readonly joins?: boolean;
  /** Of whoever forwards; the other itself when not given. */
  readonly toMac?: string | undefined;
}

/** A node whose pods get their interfaces by CNI plug-ins, and one other that counts what reaches it. */
export class CniNode implements AsyncDisposable {
  readonly sandbox: KernelSandbox;
  readonly netns: string;
  readonly chain: PluginChain;
  readonly packets: FirstPackets;
  readonly confDir: string;
  readonly binDir: string;
  readonly peer: { readonly netns: string; readonly address: string; readonly mac: string };
  readonly #bpffs: string;
  #process: LineProcess | undefined;
  #pods = 0;

  private constructor(sandbox: KernelSandbox, bpffs: string) {
    this.sandbox = sandbox;
    this.#bpffs = bpffs;
    this.netns = sandbox.netns().name;
    this.confDir = join(sandbox.dir, "net.d");
    this.binDir = join(sandbox.dir, "bin");
    for (const folder of [this.confDir, this.binDir]) mkdirSync(folder);
    this.chain = new PluginChain(this.netns, [this.binDir, buildWholeCluster().cni]);
    this.packets = new FirstPackets(sandbox.dir);
    this.peer = { netns: sandbox.netns().name, address: "10.88.0.2", mac: peerMac };
    const { netns } = this.peer;
    sandbox.ip(this.netns, "link", "add", "cni0", "type", "bridge", "forward_delay", "0");
    sandbox.ip(this.netns, "link", "set", "cni0", "up");
    sandbox.ip(
      this.netns,
      "link",
      "add",
      "peer0",
      "master",
      "cni0",
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      netns,
    );
    sandbox.ip(this.netns, "link", "set", "peer0", "up");
    sandbox.ip(netns, "link", "set", "eth0", "address", peerMac, "up");
    sandbox.ip(netns, "address", "add", "10.88.0.2/24", "dev", "eth0");
  }

  static async make(): Promise<CniNode> {
    await using made = new AsyncDisposableStack();
    const sandbox = made.use(new KernelSandbox());
    const node = made.use(new CniNode(sandbox, await sandbox.bpffs()));
    await node.start();
    made.move();
    return node;
  }

  get cniSocket(): string {
    return join(this.sandbox.dir, "node-cni.sock");
  }

  get known(): string {
    return join(this.sandbox.dir, "state/cni-known");
  }

  async start(): Promise<void> {
    const { dir } = this.sandbox;
    const objects = join(dir, "bpf");
    if (!existsSync(objects)) cpSync(join(built, "bpf"), objects, { recursive: true });
    const options: RunNodeOptions = {
      objects: join(objects, "objects.json"),
      bpffs: this.#bpffs,
      state: join(dir, "state"),
      store: join(dir, "objects"),
      socket: join(dir, "node.sock"),
    };
    const process_ = new LineProcess(this.netns, script, [JSON.stringify(options)]);
    this.#process = process_;
    if ((await process_.read()) === undefined) throw new Error(`start the node: it ended:\n${process_.log}`);
  }

  async stop(): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]();
    this.#process = undefined;
  }

  async change(command: RunNodeCommand): Promise<RunNodeAnswer> {
    assert.ok(this.#process);
    this.#process.write(JSON.stringify(command));
    const line = await this.#process.read();
    assert.ok(line, this.#process.log);
    const answer = JSON.parse(line) as RunNodeAnswer;
    assert.equal(answer.failure, undefined);
    return answer;
  }

  /** By the plug-in's own command. */
  install(...flags: readonly string[]): string {
    const places = ["--conf-dir", this.confDir, "--bin-dir", this.binDir];
    const settings = ["--socket", this.cniSocket, "--known", this.known];
    return execFileSync(plugin, ["install", ...places, ...settings, ...flags], { encoding: "utf8" });
  }

  uninstall(): string {
    return execFileSync(plugin, ["uninstall", "--conf-dir", this.confDir, "--bin-dir", this.binDir], {
      encoding: "utf8",
    });
  }

  /** As a runtime reads it. */
  readList(name = "10-pods.conflist"): NetworkList {
    return JSON.parse(readFileSync(join(this.confDir, name), "utf8")) as NetworkList;
  }

  /** A network namespace without interfaces, and a cgroup without processes: what there is when a runtime begins. */
  pod(namespace: string, name: string): CniPod {
    const number = ++this.#pods + 9;
    const folder = this.sandbox.cgroup();
    const root = this.sandbox.cgroupRoots().find((each) => folder?.startsWith(`${each}/`) === true);
    assert.ok(folder !== undefined && root !== undefined, "cgroup v2");
    const container = `c${number}`.padEnd(64, "0");
    const { name: netns } = this.sandbox.netns();
    const cgroup = { path: `/${relative(root, folder)}`, folder };
    return { container, netns, namespace, name, address: `10.88.0.${number}`, cgroup };
  }

  add(list: NetworkList, pod: CniPod): Promise<readonly PluginRun[]> {
    return this.chain.add(listFor(list, pod, this.sandbox.dir), pod);
  }

  delete(list: NetworkList, pod: CniPod): Promise<void> {
    return this.chain.delete(listFor(list, pod, this.sandbox.dir), pod);
  }

  /** What routed pods send goes on to the other's network. */
  routeToPeer(): void {
    this.sandbox.ip(this.netns, "address", "add", "10.88.0.1/24", "dev", "cni0");
  }

  /** Frames to both ports of the other, as fast as they go, as soon as there is an interface. */
  sendFrom(pod: CniPod, { joins = true, toMac = this.peer.mac }: SendingAs = {}): AsyncDisposable {
    return this.packets.send({
      netns: pod.netns,
      interface: "eth0",
      fromMac: "02:00:00:00:00:99",
      toMac,
      from: pod.address,
      to: this.peer.address,
      ports: [deniedPort, allowedPort],
      cgroup: joins ? pod.cgroup.folder : undefined,
    });
  }

  /** A process of the pod, by which a daemon finds it that was started since. */
  live(pod: CniPod): AsyncDisposable {
    return startIn(pod.netns, pod.cgroup.folder, ["sleep", "infinity"]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.sandbox[Symbol.asyncDispose]();
  }
}

/** Each pod has its own address, known before. */
function listFor(list: NetworkList, { address }: CniPod, dir: string): NetworkList {
  const ipam = {
    type: "host-local",
    dataDir: join(dir, "ipam"),
    ranges: [[{ subnet: "10.88.0.0/24", rangeStart: address, rangeEnd: address, gateway: "10.88.0.1" }]],
  };
  const [main, ...others] = list.plugins;
  return main === undefined ? list : { ...list, plugins: [{ ...main, ipam }, ...others] };
}

export const bridgeList: NetworkList = {
  cniVersion: "1.0.0",
  name: "pods",
  plugins: [{ type: "bridge", bridge: "cni0" }],
};

export const ptpList: NetworkList = { cniVersion: "1.0.0", name: "pods", plugins: [{ type: "ptp" }] };

export function podObject({ namespace, name, cgroup }: CniPod, labels: Readonly<Record<string, string>>): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels, annotations: { "bpfleet.io/cgroup": cgroup.path } },
    spec: { containers: [{ name: "web", image: "none" }] },
  };
}

/** In one direction alone: whom it selects is open in the other. */
export function oneWayPolicy(namespace: string, direction: "Ingress" | "Egress"): KubeObject {
  const rules = [{ ports: [{ protocol: "TCP", port: allowedPort }] }];
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: direction.toLowerCase(), namespace },
    spec: {
      podSelector: { matchLabels: { app: direction.toLowerCase() } },
      policyTypes: [direction],
      ...(direction === "Ingress" ? { ingress: rules } : { egress: rules }),
    },
  };
}

/** Whom it selects may send to one port, and hears from nobody. */
export function policyObject(namespace: string): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "closed", namespace },
    spec: {
      podSelector: { matchLabels: { app: "web" } },
      policyTypes: ["Ingress", "Egress"],
      egress: [{ ports: [{ protocol: "UDP", port: allowedPort }] }],
    },
  };
}
