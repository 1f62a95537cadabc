import assert from "node:assert/strict";
import { cpSync, existsSync, readdirSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { refKey, type ObjectRef } from "@bpfleet/base";
import type { Explanation } from "@bpfleet/daemon";
import { LineProcess } from "@bpfleet/daemon/testing";
import { decodePinName } from "@bpfleet/kernel";
import type { KubeObject } from "@bpfleet/kinds";
import { PodNetwork, podKey, rigPod, type RigPod, type Wiring } from "./pod-network.ts";
import { Prober, type Probe, type Protocol } from "./prober.ts";
import type { RunNodeAnswer, RunNodeCommand, RunNodeOptions } from "./run-node.ts";

const script = join(import.meta.dirname, "run-node.ts");
const built = join(import.meta.dirname, "../../../build/bpf");
const servedPorts = [80, 81];
export const families = ["ipv4", "ipv6"] as const;

/** The nine pods of network policy conformance tests: x/a to z/c. */
export const ninePods: readonly RigPod[] = ["x", "y", "z"].flatMap((namespace, row) =>
  ["a", "b", "c"].map((name, column) => rigPod(namespace, name, row * 3 + column + 1)),
);

/** A Pod object that makes a network namespace an endpoint. */
export function podObject(pod: RigPod, netns: string, labels: Readonly<Record<string, string>>): KubeObject {
  const ports = servedPorts.flatMap((port) =>
    ["TCP", "UDP", "SCTP"].map((protocol) => ({
      name: `serve-${port}-${protocol.toLowerCase()}`,
      containerPort: port,
      protocol,
    })),
  );
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: pod.name, namespace: pod.namespace, labels, annotations: { "bpfleet.io/netns": netns } },
    spec: { containers: [{ name: "serve", image: "none", ports }] },
  };
}

export function namespaceObject(name: string, labels: Readonly<Record<string, string>>): KubeObject {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

export interface RigOptions {
  /** Of every server; 80 and 81 when not given. */
  readonly ports?: readonly number[] | undefined;
  readonly hostAccess?: RunNodeOptions["hostAccess"];
  readonly failSafePorts?: RunNodeOptions["failSafePorts"];
  /** Of the disk that holds the state alone; it shares one with everything else when not given. */
  readonly stateBytes?: number | undefined;
}

/** Pods in network namespaces of their own with real servers, and the daemon and agent of their node. */
export class PolicyRig implements AsyncDisposable {
  readonly network: PodNetwork;
  readonly #bpffs: string;
  readonly #options: RigOptions;
  readonly state: string;
  /** What is declared. */
  readonly store: string;
  #node: LineProcess | undefined;
  #prober: Prober | undefined;

  private constructor(network: PodNetwork, bpffs: string, options: RigOptions) {
    this.network = network;
    this.#bpffs = bpffs;
    this.#options = options;
    this.store = join(network.sandbox.dir, "objects");
    const { stateBytes } = options;
    this.state =
      stateBytes === undefined ? join(network.sandbox.dir, "state") : network.sandbox.disk("state", stateBytes);
  }

  static async make(wiring: Wiring, pods: readonly RigPod[] = ninePods, options: RigOptions = {}): Promise<PolicyRig> {
    await using made = new AsyncDisposableStack();
    const network = made.use(new PodNetwork(wiring));
    const rig = made.use(new PolicyRig(network, await network.sandbox.bpffs(), options));
    for (const pod of pods) network.add(pod);
    await rig.serve();
    await rig.start();
    made.move();
    return rig;
  }

  get prober(): Prober {
    assert.ok(this.#prober);
    return this.#prober;
  }

  /** Starts the servers in the pods that are there now, and clients there and on the node. */
  async serve(): Promise<void> {
    await this.#prober?.[Symbol.asyncDispose]();
    const { node, netns, sandbox } = this.network;
    const paths = Object.fromEntries([...netns].map(([key, name]) => [key, `/run/netns/${name}`]));
    this.#prober = Prober.start(sandbox.dir, { node: node.path, ...paths });
    for (const key of ["node", ...netns.keys()])
      for (const protocol of ["TCP", "UDP", "SCTP"] as const)
        await this.#prober.listen(key, protocol, ...(this.#options.ports ?? servedPorts));
  }

  /** Starts daemon and agent, again after `stop`. */
  async start({ isDaemonAlone }: Pick<RunNodeOptions, "isDaemonAlone"> = {}): Promise<void> {
    const { dir } = this.network.sandbox;
    // Whoever builds meanwhile does not change what is tested.
    const objects = join(dir, "bpf");
    if (!existsSync(objects)) cpSync(built, objects, { recursive: true });
    const options: RunNodeOptions = {
      objects: join(objects, "objects.json"),
      bpffs: this.#bpffs,
      state: this.state,
      store: this.store,
      socket: join(dir, "node.sock"),
      hostAccess: this.#options.hostAccess,
      failSafePorts: this.#options.failSafePorts,
      isDaemonAlone,
    };
    const node = new LineProcess(this.network.node.name, script, [JSON.stringify(options)]);
    this.#node = node;
    if ((await node.read()) === undefined)
      throw new Error(`start the node: it ended (${await node.exit}):\n${node.log}`);
  }

  /** What is in force stays so. */
  async stop(): Promise<void> {
    await this.#node?.[Symbol.asyncDispose]();
    this.#node = undefined;
  }

  /** Without a chance to say anything. */
  async kill(): Promise<void> {
    await this.#node?.kill();
    this.#node = undefined;
  }

  /** One scrape of the daemon. */
  async metrics(): Promise<string> {
    const socketPath = join(this.network.sandbox.dir, "node.sock.metrics");
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    get({ socketPath, path: "/metrics" }, resolve).on("error", reject);
    return text(await promise);
  }

  /** Resolves when the kernel was brought to it as far as it goes. */
  async change(command: RunNodeCommand): Promise<RunNodeAnswer> {
    assert.ok(this.#node);
    this.#node.write(JSON.stringify(command));
    const line = await this.#node.read();
    if (line === undefined)
      throw new Error(`change objects: the node ended (${await this.#node.exit}):\n${this.#node.log}`);
    const answer = JSON.parse(line) as RunNodeAnswer;
    if (answer.failure !== undefined) throw new Error(answer.failure);
    return answer;
  }

  async explain(hook: string, packet: Uint8Array): Promise<Explanation | undefined> {
    const { explanation } = await this.change({ explain: { hook, packet: Buffer.from(packet).toString("base64") } });
    return explanation;
  }

  /** What a metric says; `undefined`: there is none whose labels say so, written as they are there. */
  async metric(name: string, labels: string): Promise<number | undefined> {
    const lines = (await this.metrics()).split("\n");
    const line = lines.find((each) => each.startsWith(`${name}{`) && each.includes(labels));
    return line === undefined ? undefined : Number(line.split(" ").at(-1));
  }

  /** Keys of the hooks that are pinned. */
  hooks(): readonly string[] {
    return readdirSync(join(this.#bpffs, "bpfleet/links")).map((name) => decodePinName(name) ?? name);
  }

  get pid(): number {
    return this.#node?.pid ?? 0;
  }

  /** What the node wrote to its standard error. */
  get log(): string {
    return this.#node?.log ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#prober?.[Symbol.asyncDispose]();
    await this.network[Symbol.asyncDispose]();
  }
}

export interface Cell extends Probe {
  /** `x/a>y/b|TCP/80` */
  readonly key: string;
}

/** Every pod to every other one. */
export function matrixOf(
  pods: readonly RigPod[],
  family: (typeof families)[number],
  protocols: readonly Protocol[],
  ports: readonly number[] = servedPorts,
): readonly Cell[] {
  return pods.flatMap((from) =>
    pods.flatMap((to) =>
      from === to
        ? []
        : protocols.flatMap((protocol) =>
            (protocol === "ICMP" ? [0] : ports).map((port) => ({
              from: podKey(from),
              to: to[family],
              protocol,
              port,
              key: `${podKey(from)}>${podKey(to)}|${protocol}/${port}`,
            })),
          ),
    ),
  );
}

export function refOfPolicy(policy: KubeObject): ObjectRef {
  const [group = ""] = policy.apiVersion.split("/");
  const { name, namespace = "" } = policy.metadata;
  return { group, kind: policy.kind, namespace, name };
}

/** What of these is told as anything but served in full: a policy that is refused drops too, and proves nothing. */
export function notAsWritten(objects: RunNodeAnswer["objects"], wanted: readonly ObjectRef[]): readonly string[] {
  return wanted.flatMap((ref) => {
    const told = objects.find((each) => refKey(each.ref) === refKey(ref));
    const { state = "not there", messages = [], status } = told ?? {};
    const { conditions = [] } = (status ?? {}) as { readonly conditions?: readonly Condition[] };
    const bad = conditions.filter((each) => each.status !== "True");
    if (state === "in-force" && bad.length === 0) return [];
    const reasons = bad.map(({ type, reason }) => `${type} is ${reason}`);
    return [`${refKey(ref)} is ${state}: ${[...reasons, ...messages].join("; ")}`];
  });
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
}
