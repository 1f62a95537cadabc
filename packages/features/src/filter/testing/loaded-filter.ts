/** One program of a planned filter in the kernel, for tests: its maps made, itself loaded, nothing attached. */
import { readFileSync } from "node:fs";
import { BpfMap, BpfObject, type BpfProgram, type ChainPart } from "@bpfleet/native";
import type { MapEntries, MapSpec, ProgramSpec } from "@bpfleet/kernel";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import type { FeaturePlan } from "../../feature.ts";
import { decodeExplained, explainedSize, type Explained } from "../../generated/shared.ts";

const object = new URL("../../../../../build/bpf/filter.bpf.o", import.meta.url);

export const facts = nodeFacts({
  nodeName: "test",
  objects: { filter: { digest: "built" } },
  interfaces: [interfaceFacts("v0")],
});

/** Maps of a plan in the kernel, by key. */
export class TestMaps implements Disposable {
  readonly #maps = new Map<string, BpfMap>();

  async get(spec: MapSpec): Promise<BpfMap> {
    const known = this.#maps.get(spec.key);
    if (known) return known;
    const map = BpfMap.create({ ...spec.definition, name: spec.name });
    this.#maps.set(spec.key, map);
    const entries =
      spec.contents.kind === "sealed" || spec.contents.kind === "kept" ? spec.contents.entries : undefined;
    if (entries && entries.count > 0) await map.updateBatch(entries.keys, entries.values, entries.count);
    return map;
  }

  find(key: string): BpfMap {
    const map = this.#maps.get(key);
    if (!map) throw new Error(`find map ${key}: it is not in the plan`);
    return map;
  }

  async read(key: string): Promise<MapEntries> {
    const { count, keys, values } = await this.find(key).readBatch();
    return { count, keys, values };
  }

  [Symbol.dispose](): void {
    for (const map of this.#maps.values()) map.close();
    this.#maps.clear();
  }
}

export interface Run {
  readonly verdict: number;
  readonly packet: Buffer;
  readonly ctx: Buffer;
  readonly durationNs: number;
}

export class LoadedFilter implements AsyncDisposable {
  readonly #object: BpfObject;
  readonly #entry: string;
  readonly program: BpfProgram;
  readonly #explained: BpfMap;
  readonly #scratch = Buffer.alloc(explainedSize);
  readonly verifiedInstructions: number;

  private constructor(opened: BpfObject, entry: string) {
    this.#object = opened;
    this.#entry = entry;
    this.program = opened.program(entry);
    this.#explained = opened.map("explained");
    this.verifiedInstructions = this.program.info.verifiedInstructions;
  }

  static async load(
    spec: ProgramSpec,
    plan: FeaturePlan,
    maps: TestMaps,
    globals: ProgramSpec["globals"] = {},
  ): Promise<LoadedFilter> {
    const reuseMaps: Record<string, BpfMap> = {};
    for (const [name, key] of Object.entries(spec.maps)) {
      const map = plan.maps.find((each) => each.key === key);
      reuseMaps[name] = map ? await maps.get(map) : maps.find(key);
    }
    const opened = BpfObject.open(readFileSync(object), { name: "filter", reuseMaps, autoload: [spec.entry] });
    opened.setGlobals({ ...spec.globals, ...globals });
    // Instructions are to be had after this only.
    await opened.prepare();
    await opened.load();
    return new LoadedFilter(opened, spec.entry);
  }

  async run(packet: Uint8Array, options: { ctx?: Uint8Array; repeat?: number } = {}): Promise<Run> {
    const { retval, data, ctx, durationNs } = await this.program.testRun({ data: packet, ...options });
    return { verdict: retval | 0, packet: data, ctx, durationNs };
  }

  /** To be copied into a chain. */
  part(proceedOn: readonly number[]): ChainPart {
    return { program: this.program, instructions: this.#object.instructions(this.#entry), mode: "inline", proceedOn };
  }

  /** What a dry run left. */
  scratch(): Buffer {
    this.#explained.getInto(Buffer.alloc(4), this.#scratch);
    return this.#scratch;
  }

  explained(): Explained {
    const { buffer, byteOffset, length } = this.scratch();
    return decodeExplained(new DataView(buffer, byteOffset, length));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.program.close();
    this.#explained.close();
    await this.#object.close();
  }
}
