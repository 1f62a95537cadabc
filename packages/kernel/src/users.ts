import { actionId, type Action } from "./action.ts";
import { type planGenerations, renderIdentity, sameIdentity } from "./identity.ts";
import type { MapIdentity, ObservedHook, ObservedKernel } from "./port.ts";
import type { References } from "./references.ts";
import type { HookSpec, NodePlan } from "./specs.ts";

/** Whose being in force others wait for: ids of actions, some of which may turn out not to be needed. */
export class Users {
  readonly #plan: NodePlan;
  readonly #generations: ReturnType<typeof planGenerations>;
  readonly #references: References;
  readonly #observed: ObservedKernel;
  /** What is to be done so far, by its id. */
  readonly #actions: ReadonlyMap<string, Action>;
  #hooks: ReadonlyMap<string, ReadonlySet<string>> | undefined;

  constructor(
    plan: NodePlan,
    generations: ReturnType<typeof planGenerations>,
    references: References,
    observed: ObservedKernel,
    actions: ReadonlyMap<string, Action>,
  ) {
    this.#plan = plan;
    this.#generations = generations;
    this.#references = references;
    this.#observed = observed;
    this.#actions = actions;
  }

  /** Actions that put programs over this map in force. */
  ofMap(mapKey: string): string[] {
    return this.eachOfMap(mapKey).flat();
  }

  /** The same, program by program. */
  eachOfMap(mapKey: string): string[][] {
    return [
      ...this.programsOver(mapKey).map((program) => this.ofProgram(program.key)),
      ...this.#references.holdersOf(mapKey).flatMap((outer) => this.through(outer)),
    ];
  }

  programsOver(mapKey: string): NodePlan["programs"] {
    return this.#plan.programs.filter((program) => Object.values(program.maps).includes(mapKey));
  }

  /**
   * Actions that put what a map of maps refers to in force, program by program. A program may find its way to one map
   * by what it finds in another: they are in force together. One that runs already needs nothing else.
   */
  through(outerKey: string): string[][] {
    const users = this.programsOver(outerKey).map(({ key, maps }) => {
      const identity = this.#generations.programs.get(key);
      const isToLoad = identity !== undefined && this.#actions.has(`load-program ${renderIdentity(identity)}`);
      return [...this.#references.putsInto(Object.values(maps)), ...(isToLoad ? this.ofProgram(key) : [])];
    });
    return users.length > 0 ? users : [[...this.#references.putsInto([outerKey])]];
  }

  /** Actions that put this program in force. */
  ofProgram(programKey: string): string[] {
    const identity = this.#generations.programs.get(programKey);
    const hooks = this.#hooksByProgram().get(programKey) ?? [];
    return [
      ...(identity ? [`load-program ${renderIdentity(identity)}`] : []),
      ...[...hooks].map((hook) => `set-hook ${hook}`),
    ];
  }

  /**
   * Ids of the puts that what runs on a hook is to see before others take its place: into maps that programs look into
   * which run there, or are to.
   */
  putsBefore(): (hook: HookSpec, there: ObservedHook | undefined) => readonly string[] {
    const puts = this.#references.putsBeforePrograms.map((put) => ({
      id: actionId(put),
      wanted: new Set(this.programsOver(put.spec.key).map(({ key }) => key)),
      others: new Set(this.#othersThan(put.identity)),
    }));
    return ({ members }, there) => {
      if (there === undefined) return [];
      const isOf = ({ wanted, others }: (typeof puts)[number]): boolean =>
        members.some(({ program }) => wanted.has(program)) ||
        there.members.length === 0 ||
        there.members.some((id) => !others.has(id));
      return puts.filter(isOf).map(({ id }) => id);
    };
  }

  /** Ids of programs of which it is known that they do not look into this map. */
  #othersThan(identity: MapIdentity): readonly number[] {
    const mapId = this.#observed.maps.find((map) => sameIdentity(map, identity))?.mapId;
    const others = this.#observed.programs.filter(({ mapIds }) => mapId === undefined || !mapIds.includes(mapId));
    return others.map(({ programId }) => programId);
  }

  /** Keys of the plan's hooks, by the programs that run there. */
  #hooksByProgram(): ReadonlyMap<string, ReadonlySet<string>> {
    if (this.#hooks !== undefined) return this.#hooks;
    const usedBy = new Map<string, Set<string>>();
    for (const { key, members } of this.#plan.hooks) {
      for (const { program } of members) {
        const hooks = usedBy.get(program) ?? new Set();
        usedBy.set(program, hooks.add(key));
      }
    }
    this.#hooks = usedBy;
    return usedBy;
  }
}
