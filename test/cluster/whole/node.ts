import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Authority } from "./authority.ts";
import { podRange, server } from "./control-plane.ts";
import { Network } from "./network.ts";
import { containerdConfig, kubeletConfig, kubeProxyConfig, podNetworkConfig } from "./node-config.ts";
import { run, Running } from "./processes.ts";

export interface NodePlaces {
  /** kubelet, kube-proxy. */
  readonly binaries: string;
  /** The plugins that make a pod's interfaces. */
  readonly plugins: string;
  readonly folder: string;
  readonly logs: string;
  /** Archives that every node has from its start; one of them brings `localhost/pause:1`. */
  readonly images: readonly string[];
}

export type Kubectl = (args: readonly string[], input?: string) => Promise<string>;

export const nodeScript: string = fileURLToPath(new URL("node.sh", import.meta.url));

/** A kubelet, containerd and kube-proxy in namespaces of their own. */
export class ClusterNode {
  readonly name: string;
  readonly address: string;
  readonly network: Network;
  readonly #places: NodePlaces;
  readonly #switch: Network;
  readonly #kubectl: Kubectl;
  readonly #groups: readonly string[];
  #running: Running | undefined;

  private constructor(
    name: string,
    address: string,
    network: Network,
    places: NodePlaces,
    hub: Network,
    kubectl: Kubectl,
    groups: readonly string[],
  ) {
    this.name = name;
    this.address = address;
    this.network = network;
    this.#places = places;
    this.#switch = hub;
    this.#kubectl = kubectl;
    this.#groups = groups;
  }

  /** Lays out the node; `start` turns it on. */
  static async prepare(
    number: number,
    places: NodePlaces,
    hub: Network,
    authority: Authority,
    kubectl: Kubectl,
    groups: readonly string[],
  ): Promise<ClusterNode> {
    const name = `n${number}`;
    const address = `10.77.0.${10 + number}`;
    const network = await Network.open(name, places.logs);
    await hub.plug(`port${number}`, network);
    await network.ip(`addr add ${address}/24 dev eth0`, "link set eth0 up", "route add default via 10.77.0.1");
    await network.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    const node = new ClusterNode(name, address, network, places, hub, kubectl, groups);
    node.#configure(authority);
    return node;
  }

  /** Until the API server calls it ready. */
  async start(): Promise<void> {
    for (const group of this.#groups) makeGroup(group);
    const command = ["join", this.network.path, this.#path("groups"), this.#path("settings.sh")];
    this.#running = new Running(`node-${this.name}`, this.#places.logs, ["/bin/bash", nodeScript, ...command]);
    const { name } = this;
    await this.#running.until("containerd", async () => (await this.#ctr("version")) !== "");
    for (const image of this.#places.images) await this.loadImages(image);
    let range = "";
    await this.#running.until("range of pod addresses", async () => {
      range = await this.#kubectl(["get", "node", name, "--output=jsonpath={.spec.podCIDR}"]);
      return range !== "";
    });
    const config = this.#path("cni/10-pods.conflist");
    if (!existsSync(config)) {
      writeFileSync(`${config}.half`, podNetworkConfig(range));
      renameSync(`${config}.half`, config);
    }
    // The pods of this node are reached through it, from the switch and so from the other nodes.
    await this.#switch.ip(`route replace ${range} via ${this.address}`);
    await this.#kubectl(["wait", "--for=condition=Ready", `node/${name}`, "--timeout=120s"]);
  }

  /** As by loss of power: no process of the node is left, and no mount. What it had on disk stays. */
  async crash(): Promise<void> {
    await this.#running?.kill();
    this.#running = undefined;
    await this.#emptyGroups();
    // Interfaces live in a namespace that outlives the crash here; a machine that starts has none of them.
    const links = await this.network.run(["ip", "-json", "link", "show"]);
    for (const { ifname } of JSON.parse(links) as { ifname: string }[])
      if (/^(cni|veth|kube)/.test(ifname)) await this.network.ip(`link delete ${ifname}`).catch(() => undefined);
  }

  async loadImages(archive: string): Promise<void> {
    await this.#ctr("images", "import", archive);
  }

  /** A command on the node: among its mounts, processes and interfaces. */
  run(command: readonly string[], input = ""): Promise<string> {
    return run(this.inside(command), { input });
  }

  /** A command, made to run on the node. */
  inside(command: readonly string[]): string[] {
    return ["nsenter", `--target=${this.#init()}`, "--mount", "--pid", "--net", "--uts", "--ipc", "--", ...command];
  }

  async stop(): Promise<void> {
    await this.#running?.kill();
    await this.network.close();
  }

  #init(): number {
    const pid = this.#running?.pid;
    const [child] = pid === undefined ? [] : readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
    if (child === undefined || child === "") throw new Error(`enter ${this.name}: it is not running; start it`);
    return Number(child);
  }

  #ctr(...args: readonly string[]): Promise<string> {
    return run(["ctr", "--address", this.#path("containerd.sock"), "--namespace", "k8s.io", ...args]);
  }

  #path(name: string): string {
    return join(this.#places.folder, name);
  }

  #configure(authority: Authority): void {
    const { name, address } = this;
    for (const folder of ["cni", "manifests", "kubelet", "containerd", "var-lib", "etc", "etc-work"])
      mkdirSync(this.#path(folder), { recursive: true });
    authority.certify(`kubelet-${name}`, `/O=system:nodes/CN=system:node:${name}`, "both", `IP:${address},DNS:${name}`);
    authority.certify("kube-proxy", "/CN=system:kube-proxy", "clientAuth");
    cpSync(authority.kubeconfig(`kubelet-${name}`, server), this.#path("kubelet.kubeconfig"));
    writeFileSync(this.#path("resolv.conf"), "nameserver 127.0.0.1\n");
    const { folder, plugins } = this.#places;
    writeFileSync(this.#path("containerd.toml"), containerdConfig(folder));
    writeFileSync(this.#path("kubelet.yaml"), kubeletConfig(name, address, folder, authority));
    writeFileSync(this.#path("kube-proxy.yaml"), kubeProxyConfig(authority.kubeconfig("kube-proxy", server), podRange));
    writeFileSync(this.#path("groups"), this.#groups.map((group) => `${group}\n`).join(""));
    const settings = {
      name,
      folder,
      logs: this.#places.logs,
      node_ip: address,
      plugins,
      kubelet: join(this.#places.binaries, "kubelet"),
      kube_proxy: join(this.#places.binaries, "kube-proxy"),
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key}='${value}'\n`);
    writeFileSync(this.#path("settings.sh"), lines.join(""));
  }

  async #emptyGroups(): Promise<void> {
    const end = performance.now() + 10_000;
    for (const group of this.#groups) {
      while (!removeGroup(group) && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** One control group for the node in each hierarchy, under the group that we are in. */
export function groupsFor(label: string): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const lines = readFileSync("/proc/self/cgroup", "utf8").trim().split("\n");
  return lines.flatMap((line) => {
    const [id, controllers = "", path = "/"] = line.split(":");
    const mount = mounts.find((text) => {
      const [before = "", after = ""] = text.split(" - ");
      const isWhole = before.split(" ")[3] === "/";
      const options = (after.split(" ")[2] ?? "").split(",");
      if (id === "0") return isWhole && after.startsWith("cgroup2 ");
      return isWhole && after.startsWith("cgroup ") && controllers.split(",").every((name) => options.includes(name));
    });
    const at = mount?.split(" ")[4];
    return at === undefined ? [] : [join(at, path, label)];
  });
}

/** A group of cpuset takes no process before it has processors and memory. */
export function makeGroup(group: string): void {
  mkdirSync(group, { recursive: true });
  for (const file of ["cpuset.cpus", "cpuset.mems"])
    if (existsSync(join(group, file)) && readFileSync(join(group, file), "utf8").trim() === "")
      writeFileSync(join(group, file), readFileSync(join(dirname(group), file)));
}

export function removeGroup(group: string): boolean {
  if (!existsSync(group)) return true;
  try {
    for (const entry of readdirSync(group, { withFileTypes: true }))
      if (entry.isDirectory()) removeGroup(join(group, entry.name));
    rmdirSync(group);
    return true;
  } catch {
    return false;
  }
}
