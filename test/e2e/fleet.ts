import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildAppImages, nameImages } from "../../tools/images/app-images.ts";
import { renderArchive } from "../../tools/images/image.ts";
import { Running } from "../cluster/whole/processes.ts";
import { WholeCluster } from "../cluster/whole/whole-cluster.ts";
import type { ClusterNode } from "../cluster/whole/node.ts";

export const root: string = join(import.meta.dirname, "../..");
const base = join(root, "manifests/base/ebpf");
const ebpfctl = [process.execPath, join(root, "apps/ebpfctl/src/main.ts")];
const registryHost = "10.77.0.1:5000";

/** A whole cluster with our images on every node, and a registry that nodes ask for those of quay.io. */
export class Fleet implements AsyncDisposable {
  readonly cluster: WholeCluster;
  readonly #registry: Running;

  private constructor(cluster: WholeCluster, registry: Running) {
    this.cluster = cluster;
    this.#registry = registry;
  }

  static async start(nodes = 1): Promise<Fleet> {
    const images = await buildAppImages();
    const cluster = await WholeCluster.start({ nodes });
    const archive = join(cluster.folder, "bpfleet.tar");
    writeFileSync(archive, renderArchive(nameImages(images, {})));
    const registry = startRegistry(cluster);
    for (const node of cluster.nodes) {
      await node.loadImages(archive);
      await node.run(["mkdir", "-p", "/etc/bpfleet/registries/quay.io"]);
      await node.run(["tee", "/etc/bpfleet/registries/quay.io/hosts.toml"], `server = "http://${registryHost}"\n`);
    }
    return new Fleet(cluster, registry);
  }

  get node(): ClusterNode {
    const [first] = this.cluster.nodes;
    if (first === undefined) throw new Error("the cluster has no node");
    return first;
  }

  /** What the documents say. */
  async install(): Promise<void> {
    await this.cluster.kubectl(["apply", `--kustomize=${base}`]);
    await this.ready();
  }

  async ready(): Promise<void> {
    const { kubectl } = this.cluster;
    await kubectl(["-n", "kube-system", "rollout", "status", "deployment/podconfigmap-controller", "--timeout=180s"]);
    await this.cluster.until("DaemonSet", () => kubectl(["-n", "kube-system", "get", "daemonset", "bpfd-daemon"]));
    await kubectl(["-n", "kube-system", "rollout", "status", "daemonset/bpfd-daemon", "--timeout=180s"]);
  }

  apply(text: string): Promise<string> {
    return this.cluster.kubectl(["apply", "--filename=-"], text);
  }

  /** `kubectl exec` in the first pod of the DaemonSet, as the documents find it. */
  async exec(...command: readonly string[]): Promise<string> {
    const { kubectl } = this.cluster;
    const pods = await kubectl(["-n", "kube-system", "get", "pods", "-l", "app=fos1-ebpf-controller", "-o", "name"]);
    const [first = ""] = pods.trim().split("\n");
    return kubectl(["-n", "kube-system", "exec", first, "--", ...command]);
  }

  /** Whether an address of the switch gets an answer from another address. */
  async pings(from: string, to: string): Promise<boolean> {
    const command = ["ping", "-c1", "-W1", "-I", from, to];
    return this.cluster.network.run(command).then(
      () => true,
      () => false,
    );
  }

  /** Compiles a program and puts it into the registry, as an image that nodes find at quay.io. */
  async pushBytecode(source: string, name: string): Promise<void> {
    const { folder } = this.cluster;
    const object = join(folder, `${name}.bpf.o`);
    const multiarch = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    const headers = ["-I", join(root, "build/include"), "-I", multiarch];
    execFileSync("clang", ["-target", "bpf", "-O2", "-g", ...headers, "-c", source, "-o", object]);
    const image = join(folder, `${name}.tar`);
    const { network } = this.cluster;
    await network.run([...ebpfctl, "image", "build", object, "-o", image]);
    const mirrors = join(folder, "mirrors");
    mkdirSync(join(mirrors, registryHost), { recursive: true });
    writeFileSync(join(mirrors, registryHost, "hosts.toml"), `server = "http://${registryHost}"\n`);
    const target = `${registryHost}/bpfd/bytecode:${name}`;
    await network.run([...ebpfctl, "image", "push", image, target, "--mirrors", mirrors]);
  }

  /** A server on the switch that counts who reaches it. */
  async startTarget(port: number): Promise<AsyncDisposable & { knocks(): number }> {
    const { folder, network } = this.cluster;
    const path = join(folder, `target-${port}`);
    writeFileSync(path, "");
    const script = `require("net").createServer((s) => { require("fs").appendFileSync(${JSON.stringify(path)}, "k"); s.destroy(); }).listen(${port})`;
    const server = new Running(
      `target-${port}`,
      join(folder, "logs"),
      network.inside([process.execPath, "-e", script]),
    );
    await server.until("port", () =>
      network.run(["bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/${port}`]).then(() => true),
    );
    await server.until("first knock", async () => readFileSync(path, "utf8") !== "");
    writeFileSync(path, "");
    return { knocks: () => readFileSync(path, "utf8").length, [Symbol.asyncDispose]: () => server.kill() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry.kill();
    await this.cluster[Symbol.asyncDispose]();
  }
}

function startRegistry(cluster: WholeCluster): Running {
  const { folder } = cluster;
  const config = join(folder, "registry.json");
  writeFileSync(
    config,
    JSON.stringify({
      version: "0.1",
      log: { level: "error", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, "registry") } },
      http: { addr: registryHost },
    }),
  );
  const command = cluster.network.inside(["docker-registry", "serve", config]);
  return new Running("registry", join(cluster.folder, "logs"), command);
}
