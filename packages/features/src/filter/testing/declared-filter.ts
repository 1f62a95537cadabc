/** A declared filter with all its programs in the kernel, and what it counted. */
import type { FeatureInstance } from "@bpfleet/kernel";
import type { InstanceCounters } from "../../feature.ts";
import { counterRoles, countFilter } from "../counters.ts";
import type { FilterIntent } from "../intent.ts";
import { planFilter } from "../plan.ts";
import { LoadedFilter, facts, type TestMaps } from "./loaded-filter.ts";

export const origin = {
  object: { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "filter" },
  path: "",
};

export type Wish = Partial<Pick<FilterIntent, "at" | "isStateful" | "mark" | "maps">> & {
  readonly list?: readonly string[];
  readonly packetsPerSecond?: number;
};

export function intentOf({ list = [], packetsPerSecond, ...rest }: Wish): FilterIntent {
  return {
    feature: "filter",
    origin,
    at: { hook: "xdp", interface: "v0" },
    priority: 10,
    isStateful: false,
    maps: [],
    blacklist: { origin, entries: list.map((text) => ({ text, origin, prefix: parseIpv4(text) })) },
    rateLimit: packetsPerSecond === undefined ? undefined : { packetsPerSecond, origin },
    ...rest,
  };
}

function parseIpv4(text: string): { family: 4; bytes: Uint8Array; length: number } {
  const [address = "", length = "32"] = text.split("/");
  return { family: 4, bytes: Uint8Array.from(address.split(".").map(Number)), length: Number(length) };
}

export class DeclaredFilter implements AsyncDisposable {
  readonly #maps: TestMaps;
  readonly instance: FeatureInstance;
  readonly main: LoadedFilter;
  readonly tracker: LoadedFilter | undefined;
  /** Runs dry over the same maps. */
  readonly twin: LoadedFilter;

  private constructor(
    maps: TestMaps,
    instance: FeatureInstance,
    main: LoadedFilter,
    twin: LoadedFilter,
    tracker?: LoadedFilter,
  ) {
    this.#maps = maps;
    this.instance = instance;
    this.main = main;
    this.twin = twin;
    this.tracker = tracker;
  }

  /** Over the maps of an earlier declaration of the same object, as after an edit. */
  static async load(wish: Wish, maps: TestMaps): Promise<DeclaredFilter> {
    const plan = planFilter([intentOf(wish)], facts);
    const [spec, trackerSpec] = plan.programs;
    const [instance] = plan.instances;
    if (!spec || !instance) throw new Error(`plan a filter: ${plan.problems.map(({ message }) => message).join("; ")}`);
    for (const map of plan.maps) await maps.get(map);
    const main = await LoadedFilter.load(spec, plan, maps);
    const twin = await LoadedFilter.load(spec, plan, maps, { dry_run: true });
    const tracker = trackerSpec && (await LoadedFilter.load(trackerSpec, plan, maps));
    return new DeclaredFilter(maps, instance, main, twin, tracker);
  }

  async counters(): Promise<InstanceCounters> {
    const readings = new Map(
      await Promise.all(
        counterRoles
          .filter((role) => this.instance.maps[role] !== undefined)
          .map(async (role) => [role, await this.#maps.read(this.instance.maps[role] ?? "")] as const),
      ),
    );
    return countFilter(this.instance, readings);
  }

  async packets(reason: string): Promise<number> {
    const readings = new Map([["reasons", await this.#maps.read(this.instance.maps["reasons"] ?? "")]]);
    return Number(countFilter(this.instance, readings).reasons[reason]?.packets ?? 0n);
  }

  /** Contents of all its maps, to see that nothing changes. */
  async contents(): Promise<string> {
    const all = await Promise.all(
      Object.values(this.instance.maps)
        .filter((key) => key !== "node/events")
        .map(async (key) => {
          const { keys, values } = await this.#maps.read(key);
          return `${key} ${Buffer.from(keys).toString("hex")} ${Buffer.from(values).toString("hex")}`;
        }),
    );
    return all.join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of [this.main, this.twin, this.tracker]) await each?.[Symbol.asyncDispose]();
  }
}
