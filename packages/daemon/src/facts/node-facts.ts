import { availableParallelism } from "node:os";
import { isDeepStrictEqual } from "node:util";
import type { EndpointWish, KernelFacts, NodeFacts, NodePlan, PolicySettings } from "@bpfleet/kernel";
import { findCgroupIds } from "@bpfleet/native";
import type { AnnouncedPods } from "../cni/announced-pods.ts";
import type { Announcement } from "../cni/announcement.ts";
import { EndpointWatch } from "../endpoints/endpoint-watch.ts";
import { earlierPlansOf, partInForce, seeMaps, seePrograms } from "../bytecode/earlier-plans.ts";
import { changedNames } from "./interface-table.ts";
import { InterfaceWatch } from "./interface-watch.ts";
import { measureKernel } from "./kernel-offers.ts";
import { readMounts } from "./mounts.ts";

export interface NodeFactsOptions {
  readonly nodeName: string;
  readonly objects: NodeFacts["objects"];
  readonly hashSeed: number;
  /** The bpffs that holds our pins. */
  readonly pinRoot?: string | undefined;
  /** Between two looks at what tells nobody of its changes: cgroups and mounts. */
  readonly pollMs: number;
  readonly announced?: AnnouncedPods | undefined;
  readonly policySettings?: PolicySettings | undefined;
  /** `places`: names of interfaces and paths of cgroups that came, went, are different, or were left by a program. */
  readonly onChange: (facts: NodeFacts, places: ReadonlySet<string>) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** Measures the node and goes on watching it. */
export class NodeFactsWatch implements AsyncDisposable {
  readonly #options: NodeFactsOptions;
  #facts: NodeFacts;
  #cgroupPaths: readonly string[] = [];
  #cgroupIds: ReadonlyMap<string, bigint> = new Map();
  #interfaces: InterfaceWatch | undefined;
  #endpoints: EndpointWatch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #proven: NonNullable<NodeFacts["earlierPlans"]> = {};
  #areProven = false;

  private constructor(options: NodeFactsOptions, kernel: KernelFacts) {
    const { nodeName, objects, hashSeed, pinRoot, policySettings } = options;
    this.#options = options;
    this.#facts = {
      nodeName,
      objects,
      hashSeed,
      kernel,
      pinRoot,
      policySettings,
      cpus: availableParallelism(),
      interfaces: [],
      cgroups: {},
      bpffs: bpffsMounts(),
    };
  }

  static async start(options: NodeFactsOptions): Promise<NodeFactsWatch> {
    const watch = new NodeFactsWatch(options, await measureKernel(readMounts()));
    watch.#interfaces = await InterfaceWatch.start({
      onChange: (interfaces, freed) => watch.#change({ interfaces }, freed),
      onTrouble: options.onTrouble,
    });
    watch.#facts = { ...watch.#facts, interfaces: watch.#interfaces.list() };
    watch.#timer = setInterval(() => watch.look(), options.pollMs);
    return watch;
  }

  get(): NodeFacts {
    return this.#facts;
  }

  watchCgroups(paths: readonly string[]): void {
    this.#cgroupPaths = [...paths];
    this.look();
  }

  /** Resolves when all of them were looked for once. */
  async watchEndpoints(wishes: readonly EndpointWish[]): Promise<void> {
    if (wishes.length === 0 && this.#endpoints === undefined) return;
    this.#endpoints ??= new EndpointWatch({
      announced: this.#options.announced,
      onChange: (endpoints) => this.#change({ endpoints }),
      onTrouble: this.#options.onTrouble,
    });
    await this.#endpoints.watch(wishes);
  }

  /** Resolves when what was announced, or taken back, was looked for. */
  async announcementsChanged(announced: Announcement): Promise<void> {
    await this.#endpoints?.announcementsChanged(announced);
  }

  /** Interfaces on which others have an XDP program where one of ours is wanted. */
  watchHeld(interfaces: ReadonlySet<string>): void {
    this.#interfaces?.watchHeld(interfaces);
  }

  /** What became of the objects that declarations name. */
  bytecodeIs(bytecode: NonNullable<NodeFacts["bytecode"]>): void {
    this.#change({ bytecode });
  }

  /** The plan of now is the earlier one of the next, except where the kernel refused it. */
  plannedAs(plan: NodePlan): void {
    const parts = Object.entries(earlierPlansOf(plan));
    if (parts.length === 0 && this.#facts.earlierPlans === undefined) return;
    const seenMaps = seeMaps(this.#facts.seenMaps ?? {}, plan);
    const seenPrograms = seePrograms(this.#facts.seenPrograms ?? {}, plan);
    const earlierPlans = Object.fromEntries(parts.map(([owner, part]) => [owner, this.#proven[owner] ?? part]));
    this.#change({ seenMaps, seenPrograms, earlierPlans, areEarlierPlansProven: this.#areProven });
  }

  /** Programs of this plan that are in force are what later plans can go back to. */
  inForceAre(plan: NodePlan, programs: ReadonlySet<string>): void {
    const parts = Object.entries(earlierPlansOf(plan));
    const proven = parts.map(([owner, part]) => {
      const now = partInForce(part, programs);
      return [owner, now === part ? part : (this.#proven[owner] ?? now)] as const;
    });
    this.#proven = Object.fromEntries(proven.flatMap(([owner, part]) => (part === undefined ? [] : [[owner, part]])));
    this.#areProven = true;
    if (parts.length > 0) this.plannedAs(plan);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#endpoints?.[Symbol.asyncDispose]();
    await this.#interfaces?.[Symbol.asyncDispose]();
  }

  /** At what tells nobody of its changes. */
  look(): void {
    try {
      const ids = findCgroupIds(this.#cgroupPaths);
      const cgroups = haveSame(ids, this.#cgroupIds) ? this.#facts.cgroups : decimal(ids);
      this.#cgroupIds = ids;
      this.#change({ bpffs: bpffsMounts(), cgroups });
    } catch (error) {
      this.#options.onTrouble(error);
    }
  }

  #change(
    change: Partial<
      Pick<
        NodeFacts,
        | "interfaces"
        | "cgroups"
        | "endpoints"
        | "bpffs"
        | "bytecode"
        | "seenMaps"
        | "seenPrograms"
        | "earlierPlans"
        | "areEarlierPlansProven"
      >
    >,
    freed: ReadonlySet<string> = new Set(),
  ): void {
    const before = this.#facts;
    const changed = { ...before, ...change };
    const after = isDeepStrictEqual(before, changed) ? before : changed;
    if (after === before && freed.size === 0) return;
    this.#facts = after;
    const places = new Set([...changedNames(before.interfaces, after.interfaces), ...freed]);
    for (const path of Object.keys({ ...before.cgroups, ...after.cgroups })) {
      if (before.cgroups[path] !== after.cgroups[path]) places.add(path);
    }
    this.#options.onChange(after, places);
  }
}

function decimal(ids: ReadonlyMap<string, bigint>): Record<string, string> {
  return Object.fromEntries([...ids].map(([path, id]) => [path, id.toString()]));
}

function haveSame(a: ReadonlyMap<string, bigint>, b: ReadonlyMap<string, bigint>): boolean {
  return a.size === b.size && a.entries().every(([path, id]) => b.get(path) === id);
}

function bpffsMounts(): string[] {
  return readMounts()
    .filter((mount) => mount.type === "bpf")
    .map((mount) => mount.target);
}
