import type { Action } from "./action.ts";
import { type planGenerations, renderIdentity } from "./identity.ts";
import type { References } from "./references.ts";
import type { NodePlan } from "./specs.ts";

/** Whose being in force others wait for: ids of actions, some of which may turn out not to be needed. */
export class Users {
  readonly #plan: NodePlan;
  readonly #generations: ReturnType<typeof planGenerations>;
  readonly #references: References;
  /** What is to be done so far, by its id. */
  readonly #actions: ReadonlyMap<string, Action>;
  #hooks: ReadonlyMap<string, ReadonlySet<string>> | undefined;

  constructor(
    plan: NodePlan,
    generations: ReturnType<typeof planGenerations>,
    references: References,
    actions: ReadonlyMap<string, Action>,
  ) {
    this.#plan = plan;
    this.#generations = generations;
    this.#references = references;
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
