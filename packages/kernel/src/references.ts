import { actionId, type Deed } from "./action.ts";
import { isMapOfMaps, slotsOf } from "./entries.ts";
import { renderIdentity, type PlanGenerations } from "./identity.ts";
import type { MapIdentity, ObservedKernel, ObservedMap } from "./port.ts";
import type { MapSpec, NodePlan, ProgramSpec } from "./specs.ts";

type Put = Extract<Deed, { do: "put-reference" }>;
type Drop = Extract<Deed, { do: "drop-reference" }>;

/** Maps of maps: what the plan wants in their slots, what is there, and what leads from one to the other. */
export class References {
  readonly puts: readonly Put[];
  readonly drops: readonly Drop[];
  readonly #outers: readonly Outer[];
  readonly #observed: ObservedKernel;

  constructor(plan: NodePlan, generations: PlanGenerations, observed: ObservedKernel) {
    const there = new Map(observed.maps.map((map) => [renderIdentity(map), map]));
    this.#outers = plan.maps.flatMap((spec) => {
      const identity = generations.maps.get(spec.key);
      if (spec.contents.kind !== "refers" || identity === undefined) return [];
      const present = there.get(renderIdentity(identity));
      const wanted = new Map(spec.contents.entries.map(({ slot, map }) => [slot, generations.maps.get(map)]));
      const slots = present?.entries === undefined ? new Map<number, number>() : slotsOf(present.entries);
      return [{ spec, identity, present, wanted, slots }];
    });
    this.puts = this.#outers.flatMap((outer) => putsInto(outer, there));
    this.drops = this.#outers.flatMap(({ spec, identity, wanted, slots }) =>
      [...slots.keys()]
        .filter((slot) => !wanted.has(slot))
        .map((slot): Drop => ({ do: "drop-reference", spec, identity, slot })),
    );
    this.#observed = observed;
  }

  /** Keys of the maps of the plan in which this one is to be put. */
  holdersOf(mapKey: string): readonly string[] {
    return this.#outers
      .filter(({ spec }) => spec.contents.kind === "refers" && spec.contents.entries.some(({ map }) => map === mapKey))
      .map(({ spec }) => spec.key);
  }

  /** Ids of the puts into these maps. */
  putsInto(keys: readonly string[]): readonly string[] {
    return this.puts.filter(({ spec }) => keys.includes(spec.key)).map(actionId);
  }

  /** Nothing is in the slot yet. */
  isFirst({ spec, slot }: Put): boolean {
    return this.#outers.every((outer) => outer.spec.key !== spec.key || !outer.slots.has(slot));
  }

  /** Those that programs which run are to see before others take their place. */
  get putsBeforePrograms(): readonly Put[] {
    const isBefore = ({ spec: { contents } }: Put): boolean =>
      contents.kind === "refers" && contents.isBeforePrograms === true;
    return this.puts.filter((put) => isBefore(put) && !this.isFirst(put));
  }

  /** Ids of the puts without which the program would find an empty slot. */
  firstPutsFor({ maps }: ProgramSpec): readonly string[] {
    const keys = new Set(Object.values(maps));
    return this.#outers.flatMap(({ spec, slots }) =>
      keys.has(spec.key)
        ? this.puts.filter((put) => put.spec.key === spec.key && !slots.has(put.slot)).map(actionId)
        : [],
    );
  }

  /** Ids of the actions after which no map of maps of ours refers to this one; `undefined` when one goes on doing so. */
  releasesOf(mapId: number): readonly string[] | undefined {
    const ids: string[] = [];
    for (const map of this.#observed.maps) {
      if (!isMapOfMaps(map.definition.type) || map.entries === undefined) continue;
      for (const [slot, id] of slotsOf(map.entries)) {
        if (id !== mapId) continue;
        const release = this.#release(map, slot);
        if (release === undefined) return undefined;
        ids.push(release);
      }
    }
    return ids;
  }

  #release(map: ObservedMap, slot: number): string | undefined {
    const name = renderIdentity(map);
    const outer = this.#outers.find(({ identity }) => renderIdentity(identity) === name);
    if (outer === undefined) return `remove-map ${name}`;
    const change = [...this.puts, ...this.drops].find(
      (each) => renderIdentity(each.identity) === name && each.slot === slot,
    );
    return change && actionId(change);
  }
}

interface Outer {
  readonly spec: MapSpec;
  readonly identity: MapIdentity;
  readonly present: ObservedMap | undefined;
  /** `undefined`: the plan lacks the map. */
  readonly wanted: ReadonlyMap<number, MapIdentity | undefined>;
  /** Slot → id of the map there. */
  readonly slots: ReadonlyMap<number, number>;
}

function putsInto({ spec, identity, wanted, slots }: Outer, there: ReadonlyMap<string, ObservedMap>): Put[] {
  return [...wanted].flatMap(([slot, map]): Put[] => {
    if (map === undefined) return [];
    const id = there.get(renderIdentity(map))?.mapId;
    return id !== undefined && slots.get(slot) === id ? [] : [{ do: "put-reference", spec, identity, slot, map }];
  });
}
