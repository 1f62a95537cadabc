/** A node with pods, for tests: cgroups and a network namespace of its own, and plans made true in the kernel. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { basename, join } from "node:path";
import { after } from "node:test";
import {
  applyActions,
  assemblePlan,
  diffPlan,
  emptyJournal,
  mapIdentity,
  observePlan,
  renderAction,
  type MapEntries,
  type NodeFacts,
  type NodePlan,
} from "@bpfleet/kernel";
import { nodeFacts } from "@bpfleet/kernel/testing";
import { findCgroupId, NodeKernel } from "@bpfleet/native";
import { InnerProcess, KernelSandbox } from "@bpfleet/native/testing";
import type { InstanceCounters, Intent } from "../feature.ts";
import { features } from "../features.ts";
import type { FilterIntent, PodCgroup } from "../filter/intent.ts";

const built = new URL("../../../../build/bpf/", import.meta.url);

/** The objects of one release; a later one does the same, but is another object. */
class Release {
  isLater = false;

  read(name: string): Buffer {
    const bytes = readFileSync(new URL(`${name}.bpf.o`, built));
    return this.isLater ? Buffer.concat([bytes, Buffer.alloc(1)]) : bytes;
  }

  digest(name: string): string {
    return createHash("sha256").update(this.read(name)).digest("hex");
  }
}

/** One for all tests of a suite, empty again after each; `undefined` where the machine has no cgroup v2. */
export async function startPodNode(afterEach: (hook: () => Promise<void>) => void): Promise<PodNode | undefined> {
  const node = await PodNode.start();
  if (node === undefined) return undefined;
  afterEach(() => node.empty());
  after(() => node[Symbol.asyncDispose]());
  return node;
}

export class PodNode implements AsyncDisposable {
  readonly #sandbox: KernelSandbox;
  readonly #processes: InnerProcess[] = [];
  readonly #nested: string[] = [];
  readonly netns: string;
  /** Holds the cgroups of all pods. */
  readonly slice: string;
  readonly bpffs: string;
  readonly release: Release;
  #kernel: NodeKernel;
  plan: NodePlan = assemblePlan([]);

  private constructor(
    sandbox: KernelSandbox,
    slice: string,
    netns: string,
    bpffs: string,
    release: Release,
    kernel: NodeKernel,
  ) {
    this.#sandbox = sandbox;
    this.slice = slice;
    this.netns = netns;
    this.bpffs = bpffs;
    this.#kernel = kernel;
    this.release = release;
  }

  static async start(): Promise<PodNode | undefined> {
    await using made = new AsyncDisposableStack();
    const sandbox = made.use(new KernelSandbox());
    const slice = sandbox.cgroup();
    if (slice === undefined) return undefined;
    const { name } = sandbox.netns();
    const bpffs = await sandbox.bpffs();
    const release = new Release();
    const kernel = await openKernel(bpffs, release);
    made.move();
    return new PodNode(sandbox, slice, name, bpffs, release, kernel);
  }

  get port(): NodeKernel {
    return this.#kernel;
  }

  /** As after a restart. */
  async reopen(): Promise<void> {
    this.#kernel = await openKernel(this.bpffs, this.release);
  }

  addAddress(...addresses: string[]): void {
    for (const address of addresses) {
      const flags = address.includes(":") ? ["nodad"] : [];
      this.#sandbox.ip(this.netns, "address", "add", address, "dev", "lo", ...flags);
    }
  }

  /** A pod with a new cgroup; `name` may be a path below another pod's. */
  pod(name: string): PodCgroup {
    const folder = join(this.slice, name);
    mkdirSync(folder);
    this.#nested.push(folder);
    return { pod: basename(name), namespace: "default", path: `/${basename(this.slice)}/${name}` };
  }

  /** As the container runtime does at the end of a pod. */
  removeCgroup({ path }: PodCgroup): void {
    const folder = this.folder(path);
    rmdirSync(folder);
    this.#nested.splice(this.#nested.indexOf(folder), 1);
  }

  folder(path: string): string {
    return join(this.slice, "..", path);
  }

  /** A process of the pod; of none when it is not given. */
  async process(pod?: PodCgroup): Promise<InnerProcess> {
    const inner = await InnerProcess.start({ netns: this.netns, cgroup: pod && this.folder(pod.path) });
    this.#processes.push(inner);
    return inner;
  }

  async end(inner: InnerProcess): Promise<void> {
    await inner[Symbol.asyncDispose]();
    this.#processes.splice(this.#processes.indexOf(inner), 1);
  }

  facts(paths: readonly string[]): NodeFacts {
    const ids = paths.map((path) => [path, findCgroupId(path)] as const).filter(([, id]) => id !== undefined);
    return nodeFacts({
      nodeName: "test",
      objects: Object.fromEntries(
        ["filter", "devices", "sockets"].map((name) => [name, { digest: this.release.digest(name) }]),
      ),
      cgroups: Object.fromEntries(ids.map(([path, id]) => [path, String(id)])),
      bpffs: [this.bpffs],
    });
  }

  /** Makes these intents true, and nothing else. Returns what was done; throws when something failed. */
  async apply(...intents: readonly (Intent & Partial<PodsIntent>)[]): Promise<readonly string[]> {
    const pods = intents.flatMap(({ pods: own, at }) => own ?? (at?.hook === "cgroup" ? at.pods : []));
    const facts = this.facts(pods.map(({ path }) => path));
    this.plan = assemblePlan(
      features.map((feature) =>
        feature.plan(
          intents.filter((intent) => intent.feature === feature.name),
          facts,
        ),
      ),
    );
    const observed = await observePlan(this.#kernel, this.plan);
    const actions = diffPlan(this.plan, observed, emptyJournal, { inline: true, stub: true });
    const { outcomes } = await applyActions(actions, this.#kernel, { plan: this.plan, observed });
    const failed = outcomes.filter(({ state }) => state !== "done");
    if (failed.length > 0) throw new Error(failed.map(({ error }) => error?.message).join("; "));
    return actions.map(renderAction);
  }

  /** Of every instance of the plan, by its key. */
  async counters(): Promise<ReadonlyMap<string, InstanceCounters>> {
    const all = new Map<string, InstanceCounters>();
    for (const instance of this.plan.instances) {
      const feature = features.find(({ name }) => name === instance.feature);
      const readings = new Map<string, MapEntries>();
      for (const role of feature?.counterRoles ?? []) {
        const spec = this.plan.maps.find(({ key }) => key === instance.maps[role]);
        const entries = spec && (await this.#kernel.readMap(mapIdentity(spec)));
        if (entries !== undefined) readings.set(role, entries);
      }
      if (feature !== undefined) all.set(instance.key, feature.counters(instance, readings));
    }
    return all;
  }

  /** Without processes, cgroups and anything in the kernel. */
  async empty(): Promise<void> {
    for (const inner of this.#processes.splice(0)) await inner[Symbol.asyncDispose]();
    this.release.isLater = false;
    await this.#kernel.removeEverything();
    for (const folder of this.#nested.splice(0).toReversed()) rmdirSync(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.empty();
    await this.#sandbox[Symbol.asyncDispose]();
  }
}

/** The intents that are about pods. */
interface PodsIntent {
  readonly pods: readonly PodCgroup[];
  readonly at: FilterIntent["at"];
}

function openKernel(bpffs: string, release: Release): Promise<NodeKernel> {
  return NodeKernel.open({ bpffsDir: bpffs, loadObject: async (name) => release.read(name) });
}
