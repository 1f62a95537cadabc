import { chmodSync } from "node:fs";
import type {
  HookReading,
  HookRequest,
  HookResult,
  Inventory,
  KernelPort,
  KnownHooks,
  MapEntries,
  MapIdentity,
  MapSpec,
  ObservedKernel,
  ProgramIdentity,
  ProgramSpec,
  TestRun,
  TestRunResult,
} from "@bpfleet/kernel";
import type { ChainOffers } from "@bpfleet/kernel/chain";
import type { Netns } from "./binding.ts";
import { readInventory } from "./inventory.ts";
import { saying } from "./kernel-error.ts";
import { KernelHooks } from "./kernel-hooks.ts";
import { KernelMaps } from "./kernel-maps.ts";
import { KernelPrograms } from "./kernel-programs.ts";
import { LoadedObjects, type LoadObject } from "./loaded-objects.ts";
import type { PinAccess } from "./pin-access.ts";
import { Pins } from "./pins.ts";

export interface NodeKernelOptions {
  /** Directory on which a bpffs is mounted; our pins lie in `<bpffsDir>/bpfleet`. */
  readonly bpffsDir: string;
  /** The bytes of a BPF object by the name that plans use. */
  readonly loadObject: LoadObject;
  /** Mount a bpffs there, mode 0700, when none is; otherwise that is an error. */
  readonly mount?: boolean | undefined;
  /** The network namespace whose interfaces hooks name; a path or an open one. The process's own when left out. */
  readonly netns?: string | Netns | undefined;
  /** Who may open the maps below `<bpffsDir>/maps`; root when left out. */
  readonly pinAccess?: PinAccess | undefined;
  /** Folder of files that tell the types of those maps to whom may open them; none are written without it. */
  readonly types?: string | undefined;
  /** What `selfTestChain` found; both modes when left out. */
  readonly chainOffers?: ChainOffers | undefined;
}

/** The running kernel. All state is in pins below `<bpffsDir>/bpfleet`; a new one over the same pins goes on. */
export class NodeKernel implements KernelPort {
  readonly #pins: Pins;
  readonly #maps: KernelMaps;
  readonly #programs: KernelPrograms;
  readonly #hooks: KernelHooks;
  readonly #netns: string | Netns | undefined;

  private constructor(pins: Pins, options: NodeKernelOptions) {
    this.#pins = pins;
    this.#netns = options.netns;
    const objects = new LoadedObjects(options.loadObject);
    this.#maps = new KernelMaps(pins, objects, { pins: options.pinAccess, types: options.types });
    this.#programs = new KernelPrograms(pins, this.#maps, objects);
    this.#hooks = new KernelHooks(pins, this.#programs, { netns: options.netns, offers: options.chainOffers });
  }

  static async open(options: NodeKernelOptions): Promise<NodeKernel> {
    const pins = new Pins(options.bpffsDir);
    await pins.prepare(options.mount ?? false);
    // Whoever may open a map below must be able to come there; what is not theirs has folders of mode 0700.
    if (options.pinAccess !== undefined) chmodSync(options.bpffsDir, 0o711);
    const kernel = new NodeKernel(pins, options);
    kernel.#maps.sweep();
    return kernel;
  }

  async observe(known?: KnownHooks): Promise<ObservedKernel> {
    return saying("read the pins", async () => {
      this.#pins.check();
      const programs = this.#programs.observe();
      return { maps: this.#maps.observe(), programs, hooks: await this.#hooks.observe(programs, known) };
    });
  }

  async inventory(): Promise<Inventory> {
    return saying("list the kernel", async () =>
      readInventory(await this.observe(), this.#hooks.chains, this.#hooks.keys(), this.#netns),
    );
  }

  createMap(spec: MapSpec): Promise<void> {
    return this.#maps.create(spec);
  }

  readMap(identity: MapIdentity): Promise<MapEntries | undefined> {
    return this.#maps.read(identity);
  }

  mapMemory(identity: MapIdentity): Promise<number | undefined> {
    return this.#maps.memory(identity);
  }

  writeMap(identity: MapIdentity, puts: MapEntries, deletes: MapEntries): Promise<void> {
    return this.#maps.write(identity, puts, deletes);
  }

  putReference(spec: MapSpec, slot: number, map: MapIdentity): Promise<void> {
    return this.#maps.putReference(spec, slot, map);
  }

  dropReference(identity: MapIdentity, slot: number): Promise<void> {
    return this.#maps.dropReference(identity, slot);
  }

  removeMap(identity: MapIdentity): Promise<void> {
    return this.#maps.remove(identity);
  }

  pinMap(identity: MapIdentity, pinPath: string): Promise<void> {
    return this.#maps.pin(identity, pinPath);
  }

  unpinMap(identity: MapIdentity, pinPath: string): Promise<void> {
    return this.#maps.unpin(identity, pinPath);
  }

  readRing(identity: MapIdentity, onRecords: (records: Iterable<Uint8Array>) => void): Promise<AsyncDisposable> {
    return this.#maps.readRing(identity, onRecords);
  }

  loadProgram(spec: ProgramSpec, identity: ProgramIdentity, maps: ReadonlyMap<string, MapIdentity>): Promise<void> {
    return this.#programs.load(spec, identity, maps);
  }

  removeProgram(identity: ProgramIdentity): Promise<void> {
    return this.#programs.remove(identity);
  }

  testRun(request: TestRun): Promise<TestRunResult> {
    return this.#programs.testRun(request);
  }

  async setHook(request: HookRequest): Promise<HookResult> {
    await this.#maps.stored;
    return this.#hooks.set(request);
  }

  clearHook(key: string): Promise<void> {
    return this.#hooks.clear(key);
  }

  readHook(key: string): Promise<HookReading | undefined> {
    return this.#hooks.read(key);
  }

  async removeEverything(): Promise<void> {
    await saying("remove everything of ours", async () => {
      for (const key of this.#hooks.keys()) await this.#hooks.clear(key);
      this.#maps.removeUserPins();
      this.#pins.removeAll();
    });
  }
}
