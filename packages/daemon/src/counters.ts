import type { Clock } from "@bpfleet/base";
import type { Feature, InstanceCounters, MapReadings } from "@bpfleet/features";
import {
  isInterfacePoint,
  isKeyed,
  mapIdentity,
  planGenerations,
  renderHookKey,
  type FeatureInstance,
  type KernelPort,
  type MapEntries,
  type NodePlan,
} from "@bpfleet/kernel";
import { readChainCounters, type MemberCounts } from "@bpfleet/kernel/chain";
import type { RuleHistory } from "./rules/rule-history.ts";

/** What a chain's members did, by the key of their program. */
export interface HookCounters {
  readonly hook: string;
  readonly members: readonly { readonly program: string; readonly counts: MemberCounts }[];
}

export interface RuleMemory {
  readonly history: RuleHistory;
  readonly clock: Clock;
}

/** Finds features by name, reads the maps they ask for, and lets them say what the numbers mean. */
export class CounterReader {
  readonly #kernel: KernelPort;
  readonly #features: ReadonlyMap<string, Feature>;
  readonly #memory: RuleMemory | undefined;
  /** When rules that are remembered were read last, by the monotonic clock. */
  rulesReadMs = -Infinity;

  constructor(kernel: KernelPort, features: readonly Feature[], memory?: RuleMemory) {
    this.#kernel = kernel;
    this.#features = new Map(features.map((feature) => [feature.name, feature]));
    this.#memory = memory;
  }

  /** Instances whose maps are not there (yet) are left out. */
  async read(plan: NodePlan): Promise<InstanceCounters[]> {
    const counters: InstanceCounters[] = [];
    const known = new Map<string, MapEntries>();
    const measured = new Map<string, number | undefined>();
    for (const instance of plan.instances) {
      const feature = this.#features.get(instance.feature);
      const readings = feature && (await this.readings(plan, instance, feature.counterRoles, known));
      if (feature === undefined || readings === undefined) continue;
      const counted = this.#remember(feature, feature.counters(instance, readings));
      const memory = await this.#memoryOf(plan, instance, feature.measuredRoles ?? [], measured);
      counters.push(
        memory === undefined ? counted : { ...counted, gauges: { ...counted.gauges, map_memory_bytes: memory } },
      );
    }
    this.rulesReadMs = this.#memory?.clock.monotonicMs() ?? this.rulesReadMs;
    return counters;
  }

  /** No more than is remembered of rules. */
  async readRemembered(plan: NodePlan): Promise<void> {
    const known = new Map<string, MapEntries>();
    for (const instance of plan.instances) {
      const feature = this.#features.get(instance.feature);
      if (feature?.rememberedRoles === undefined || instance.rules.length === 0) continue;
      const readings = await this.readings(plan, instance, feature.rememberedRoles, known);
      if (readings !== undefined) this.#remember(feature, feature.counters(instance, readings));
    }
    this.rulesReadMs = this.#memory?.clock.monotonicMs() ?? this.rulesReadMs;
  }

  #remember({ rememberedRoles }: Feature, counted: InstanceCounters): InstanceCounters {
    if (this.#memory === undefined || rememberedRoles === undefined || counted.rules.length === 0) return counted;
    return this.#memory.history.see(counted, this.#memory.clock.now());
  }

  /**
   * Contents by role; roles that the instance has no map for are left out. `undefined`: a map of it is not in the
   * kernel. What `known` holds, by the key of the map, is not read again.
   */
  async readings(
    plan: NodePlan,
    instance: FeatureInstance,
    roles: readonly string[],
    known = new Map<string, MapEntries>(),
  ): Promise<MapReadings | undefined> {
    const readings = new Map<string, MapEntries>();
    for (const role of roles) {
      const spec = plan.maps.find((each) => each.key === instance.maps[role]);
      if (spec === undefined || !isKeyed(spec.definition.type)) continue;
      const entries = known.get(spec.key) ?? (await this.#kernel.readMap(mapIdentity(spec)));
      if (entries === undefined) return undefined;
      known.set(spec.key, entries);
      readings.set(role, entries);
    }
    return readings;
  }

  async #memoryOf(
    plan: NodePlan,
    instance: FeatureInstance,
    roles: readonly string[],
    measured: Map<string, number | undefined>,
  ): Promise<number | undefined> {
    const sizes: number[] = [];
    for (const role of roles) {
      const key = instance.maps[role] ?? "";
      if (!measured.has(key)) {
        const spec = plan.maps.find((each) => each.key === key);
        measured.set(key, spec && (await this.#kernel.mapMemory?.(mapIdentity(spec))));
      }
      const size = measured.get(key);
      if (size !== undefined) sizes.push(size);
    }
    return sizes.length === 0 ? undefined : sizes.reduce((sum, size) => sum + size, 0);
  }

  /** Only where several programs share a hook: there nobody else counts what each of them did. */
  async readHooks(plan: NodePlan): Promise<HookCounters[]> {
    const counters: HookCounters[] = [];
    for (const { point, members } of plan.hooks) {
      if (!isInterfacePoint(point) || members.length < 2) continue;
      const hook = renderHookKey(point);
      const reading = await this.#kernel.readHook(hook);
      // It may run without a program that cannot be loaded: its rows are then not those of the plan.
      if (reading === undefined || !generationsOf(plan, hook).includes(reading.generation)) continue;
      const counts = readChainCounters(point.hook, members, reading.values);
      counters.push({
        hook,
        members: members.flatMap(({ program }, index) => (counts[index] ? [{ program, counts: counts[index] }] : [])),
      });
    }
    return counters;
  }
}

function generationsOf(plan: NodePlan, hook: string): readonly string[] {
  return Object.values(planGenerations(plan).hooks.get(hook)?.generation ?? {});
}
