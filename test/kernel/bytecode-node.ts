import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fetchReport } from "@bpfleet/agent";
import { BpfMap } from "@bpfleet/native";
import { InnerProcess, KernelSandbox } from "@bpfleet/native/testing";
import { buildImage, pushImage, type BuiltImage, type Evidence } from "@bpfleet/oci";
import {
  credentialsFor,
  openClient,
  pushEvidence,
  registryAbsence,
  RegistryBench,
  RegistryProcess,
} from "@bpfleet/oci/testing";
import { StandaloneNode } from "./standalone-node.ts";

export const nodeName = "bpfd-deployment-worker2";
const headers = join(import.meta.dirname, "../../build/include");
const [nodeMac, clientMac] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

export interface Condition {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly status: string;
}

export interface ProgramObject {
  readonly metadata: { readonly name: string; readonly finalizers?: readonly string[] };
  readonly spec: {
    readonly programs: Readonly<
      Record<string, { readonly attachpoint: unknown; readonly maps: Readonly<Record<string, string>> }>
    >;
  };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** Why there can be no such node here, for a test to skip. */
export const bytecodeAbsence: string | undefined = registryAbsence();

/**
 * A node with `eth0` and a client behind it. `quay.io` is served by a registry without a password and
 * `registry.example` by one with it, both on the node's own loopback and named by its mirrors.
 */
export class BytecodeNode implements AsyncDisposable {
  readonly node: StandaloneNode;
  readonly bench: RegistryBench;
  readonly #sandbox: KernelSandbox;
  readonly #client: string;
  readonly #closing: AsyncDisposableStack;
  readonly #registries: ReadonlyMap<string, MirroredRegistry>;

  private constructor(
    node: StandaloneNode,
    bench: RegistryBench,
    sandbox: KernelSandbox,
    client: string,
    registries: ReadonlyMap<string, MirroredRegistry>,
    closing: AsyncDisposableStack,
  ) {
    this.node = node;
    this.bench = bench;
    this.#sandbox = sandbox;
    this.#client = client;
    this.#registries = registries;
    this.#closing = closing;
  }

  /** `policy`: text of the image policy, whose files lie beside it. */
  static async make(policy?: string): Promise<BytecodeNode> {
    await using made = new AsyncDisposableStack();
    const bench = made.use(new RegistryBench());
    const policyFile = join(bench.directory, "image-policy.yaml");
    if (policy !== undefined) writeFileSync(policyFile, policy);
    const sandbox = made.use(new KernelSandbox());
    const node = await StandaloneNode.make({
      BPFLEET_REGISTRIES: bench.mirrors,
      BPFLEET_NODE_NAME: nodeName,
      ...(policy !== undefined && { BPFLEET_IMAGE_POLICY: policyFile }),
    });
    if (node === undefined) throw new Error("make a node: there is no cgroup v2");
    made.use(node);
    const client = sandbox.netns().name;
    sandbox.ip(node.netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", client);
    for (const [netns, address, mac] of [
      [node.netns, "10.0.0.1/24", nodeMac],
      [client, "10.0.0.2/24", clientMac],
    ] as const) {
      const quiet = "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >$f; done";
      execFileSync("ip", ["netns", "exec", netns, "sh", "-c", quiet]);
      sandbox.ip(netns, "address", "add", address, "dev", "eth0");
      sandbox.ip(netns, "link", "set", "eth0", "address", mac, "up");
    }
    const forEver = (mac: string): string[] => ["lladdr", mac, "dev", "eth0", "nud", "permanent"];
    sandbox.ip(node.netns, "neigh", "replace", "10.0.0.2", ...forEver(clientMac));
    sandbox.ip(client, "neigh", "replace", "10.0.0.1", ...forEver(nodeMac));
    const registries = new Map<string, MirroredRegistry>();
    for (const [host, auth, port] of [
      ["quay.io", "none", 5000],
      ["registry.example", "basic", 5001],
    ] as const)
      registries.set(host, made.use(await MirroredRegistry.start(bench, node.netns, host, auth, port)));
    return new BytecodeNode(node, bench, sandbox, client, registries, made.move());
  }

  /** Pushes an image; its digest. */
  async push(reference: string, image: BuiltImage, ...evidence: readonly Evidence[]): Promise<string> {
    const [host = ""] = reference.split("/");
    const registry = this.#registries.get(host);
    if (registry === undefined) throw new Error(`push to ${host}: there is no such registry`);
    return registry.push(reference, image, evidence);
  }

  /** Ends or starts the registry of a host as the node sees it. */
  async serve(host: string, isServed: boolean): Promise<void> {
    await this.#registries.get(host)?.serve(isServed);
  }

  /** Applies YAML; what each object becomes is waited for by `current`. */
  apply(yaml: string): Promise<string> {
    return this.node.apply(yaml);
  }

  /** Asked over the agent's socket: a command each time would keep the node from its work. */
  async program(config: string, kind: "BpfProgram" | "EbpfProgram" = "BpfProgram"): Promise<ProgramObject | undefined> {
    const { objects } = await fetchReport(this.node.agentSocket);
    const name = `${config}-${nodeName}`;
    const found = objects.find(({ ref }) => ref.group === "bpfd.io" && ref.kind === kind && ref.name === name);
    return found?.object as ProgramObject | undefined;
  }

  /** The program of a config as soon as its last condition is of this type, and `holds`. */
  async current(
    config: string,
    type: string,
    holds: (program: ProgramObject) => boolean = () => true,
    kind: "BpfProgram" | "EbpfProgram" = "BpfProgram",
  ): Promise<ProgramObject> {
    let last: ProgramObject | undefined;
    for (const end = performance.now() + 30_000; performance.now() < end; await sleep(50)) {
      last = await this.program(config, kind);
      if (last?.status?.conditions?.at(-1)?.type === type && holds(last)) return last;
    }
    assert.fail(`${config} did not become ${type}: ${JSON.stringify(last, undefined, 2)}`);
  }

  async loaded(...configs: readonly string[]): Promise<readonly ProgramObject[]> {
    const programs: ProgramObject[] = [];
    for (const config of configs) programs.push(await this.current(config, "Loaded"));
    return programs;
  }

  /** Deletes configs, and waits until their programs are gone. */
  async remove(...configs: readonly string[]): Promise<void> {
    await this.node.do("delete", "bpfprogramconfig", ...configs);
    for (const config of configs)
      await this.until(`${config} is gone`, async () => (await this.program(config)) === undefined);
  }

  async until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
    for (const end = performance.now() + 30_000; !(await holds()); await sleep(30))
      if (performance.now() > end) assert.fail(`wait until ${what}: 30 s are over`);
  }

  /** How many of so many echo requests of the client are answered. */
  ping(count = 1): number {
    const argv = ["-n", "-q", "-c", String(count), "-i", "0.02", "-W", "1", "10.0.0.1"];
    const { stdout } = spawnSync("ip", ["netns", "exec", this.#client, "ping", ...argv], { encoding: "utf8" });
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? assert.fail(`ping said: ${stdout}`));
  }

  /** Name of the namespace behind `eth0`. */
  get client(): string {
    return this.#client;
  }

  get clientIfindex(): number {
    return this.#sandbox.ifindex(this.#client, "eth0");
  }

  ip(...args: readonly string[]): string {
    return this.#sandbox.ip(this.node.netns, ...args);
  }

  /** A command in the node's network namespace. */
  inside(command: string, ...args: readonly string[]): string {
    return execFileSync("ip", ["netns", "exec", this.node.netns, command, ...args], { encoding: "utf8" });
  }

  /** An image of `testdata/owners.bpf.c`. */
  image(flags: readonly string[] = [], section?: string): BuiltImage {
    return imageOf(this.compile("owners", flags), section);
  }

  compile(name: string, flags: readonly string[] = []): Buffer {
    const object = join(this.bench.directory, `${name}${flags.join("")}.o`);
    const source = join(import.meta.dirname, "testdata", `${name}.bpf.c`);
    const includes = [`-I${headers}`, `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`];
    execFileSync("clang", ["-target", "bpf", "-O2", "-g", ...includes, ...flags, "-c", source, "-o", object]);
    return readFileSync(object);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closing.disposeAsync();
  }
}

export function imageOf(object: Uint8Array, section?: string): BuiltImage {
  return buildImage({ object, labels: { filename: "program.o", sectionName: section } });
}

/** Values of a pinned array of numbers of eight bytes. */
export function readNumbers(pin: string, keys: number): readonly bigint[] {
  using map = BpfMap.openPinned(pin, { readOnly: true });
  return Array.from({ length: keys }, (_, key) => {
    const at = Buffer.alloc(4);
    at.writeUInt32LE(key);
    return map.getRaw(at)?.readBigUInt64LE() ?? 0n;
  });
}

export function pinsOf(program: ProgramObject): Readonly<Record<string, string>> {
  return Object.values(program.spec.programs)[0]?.maps ?? {};
}

export const causeOf = (program: ProgramObject): string =>
  program.status?.conditions?.find(({ type }) => type === "Cause")?.message ?? "";

/** One store behind two servers: one that the test pushes to, and one on the node's loopback. */
export class MirroredRegistry implements AsyncDisposable {
  readonly #outer: RegistryProcess;
  readonly #bench: RegistryBench;
  readonly #netns: string;
  readonly #config: string;
  readonly #port: number;
  #inner: ChildProcess | undefined;

  private constructor(outer: RegistryProcess, bench: RegistryBench, netns: string, config: string, port: number) {
    this.#outer = outer;
    this.#bench = bench;
    this.#netns = netns;
    this.#config = config;
    this.#port = port;
  }

  static async start(
    bench: RegistryBench,
    netns: string,
    host: string,
    auth: "none" | "basic",
    port: number,
  ): Promise<MirroredRegistry> {
    const directory = join(bench.directory, host);
    const outer = await RegistryProcess.start(directory, bench.tls, auth);
    bench.mirror(outer.host, [`https://${outer.host}`]);
    bench.mirror(host, [`https://127.0.0.1:${port}`]);
    const config = join(directory, "inner.yml");
    cpSync(join(directory, "config.yml"), config);
    writeFileSync(config, readFileSync(config, "utf8").replaceAll(outer.host, `127.0.0.1:${port}`));
    const registry = new MirroredRegistry(outer, bench, netns, config, port);
    await registry.serve(true);
    return registry;
  }

  async push(reference: string, image: BuiltImage, evidence: readonly Evidence[]): Promise<string> {
    const [, repository = "", tag = "latest"] = /^[^/]+\/([^:@]+)(?::(.+))?$/.exec(reference) ?? [];
    const name = `${this.#outer.host}/${repository}:${tag}`;
    await using client = await openClient(name, "push", this.#bench, credentialsFor(this.#outer.host));
    const digest = await pushImage(client, image, tag);
    for (const each of evidence) await pushEvidence(client, each);
    return digest;
  }

  async serve(isServed: boolean): Promise<void> {
    const before = this.#inner;
    this.#inner = undefined;
    if (before !== undefined && before.exitCode === null && before.signalCode === null) {
      const ended = once(before, "exit");
      before.kill("SIGKILL");
      await ended;
    }
    if (!isServed) return;
    const argv = [`--net=/run/netns/${this.#netns}`, "docker-registry", "serve", this.#config];
    this.#inner = spawn("nsenter", argv, { stdio: "ignore" });
    await using inner = await InnerProcess.start({ netns: this.#netns });
    await inner.run(
      async ({ port }) => {
        const { connect } = process.getBuiltinModule("node:net");
        const { setTimeout } = process.getBuiltinModule("node:timers/promises");
        for (let attempt = 0; attempt < 400; attempt++) {
          const isThere = await new Promise<boolean>((done) => {
            const socket = connect(port, "127.0.0.1");
            socket.once("connect", () => done((socket.destroy(), true)));
            socket.once("error", () => done(false));
          });
          if (isThere) return;
          await setTimeout(25);
        }
        throw new Error("docker-registry does not listen after 10 s");
      },
      { port: this.#port },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.serve(false);
    await this.#outer[Symbol.asyncDispose]();
  }
}
