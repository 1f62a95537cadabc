import { errorCodes, refKey, renderTime, type Clock, type ObjectRef } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import { notSelectedReason, type ItemResult, type NodePlan, type PlanProblem } from "@bpfleet/kernel";
import { notServedReason } from "@bpfleet/kinds";
import type { ObjectReport, ObjectState } from "./report.ts";

/** What one object became: the part of the node's results that is its own. */
export interface ObjectFate {
  readonly problems: readonly PlanProblem[];
  readonly items: readonly ItemResult[];
  readonly counters: readonly InstanceCounters[];
}

/** Everything of the node, by object; built once for all objects. */
export class Fates {
  readonly #problems: Map<string, PlanProblem[]>;
  readonly #items = new Map<string, ItemResult[]>();
  readonly #counters: Map<string, InstanceCounters[]>;

  constructor(
    plan: NodePlan,
    problems: readonly PlanProblem[],
    items: readonly ItemResult[],
    counters: readonly InstanceCounters[],
  ) {
    this.#problems = Map.groupBy(problems, (problem) => refKey(problem.origin.object));
    this.#counters = Map.groupBy(counters, (each) => refKey(each.owner));
    const owners = ownersOf(plan);
    for (const item of items) {
      for (const owner of owners.get(`${item.item} ${item.key}`) ?? []) {
        const own = this.#items.get(owner);
        if (own === undefined) this.#items.set(owner, [item]);
        else own.push(item);
      }
    }
  }

  of(ref: ObjectRef): ObjectFate {
    const key = refKey(ref);
    return {
      problems: this.#problems.get(key) ?? [],
      items: this.#items.get(key) ?? [],
      counters: this.#counters.get(key) ?? [],
    };
  }
}

/**
 * `map KEY`, `program KEY`, `hook KEY` → the objects it is there for: a hook serves the owners of all its members, and
 * what an instance shares its owner.
 */
function ownersOf(plan: NodePlan): ReadonlyMap<string, ReadonlySet<string>> {
  const owners = new Map<string, Set<string>>();
  const add = (item: string, owner: ObjectRef | undefined) => {
    if (owner === undefined) return;
    const known = owners.get(item);
    if (known === undefined) owners.set(item, new Set([refKey(owner)]));
    else known.add(refKey(owner));
  };
  const programs = new Map(plan.programs.map((program) => [program.key, program.owner]));
  for (const map of plan.maps) add(`map ${map.key}`, map.owner);
  for (const program of plan.programs) add(`program ${program.key}`, program.owner);
  for (const hook of plan.hooks)
    for (const member of hook.members) add(`hook ${hook.key}`, programs.get(member.program));
  for (const { owner, hooks, programs: shared, maps } of plan.instances) {
    if (hooks === undefined) continue;
    for (const key of hooks) add(`hook ${key}`, owner);
    for (const key of shared) add(`program ${key}`, owner);
    for (const key of Object.values(maps)) add(`map ${key}`, owner);
  }
  return owners;
}

/** `isCurrent`: the results are of the plan that holds this object as it is now. */
export function stateOf(fate: ObjectFate, isCurrent: boolean, isPaused: boolean): ObjectState {
  if (fate.problems.some((problem) => problem.severity === "refused")) return "failed";
  if (!isCurrent) return "pending";
  if (fate.items.some((item) => item.state === "failed")) return "failed";
  if (fate.problems.some((problem) => problem.severity === "waiting")) return "waiting";
  if (isPaused || fate.items.some((item) => item.state !== "in-force")) return "pending";
  return "in-force";
}

/** The least that every status has, where the kind cannot say more. */
export function refusedStatus(fate: ObjectFate, clock: Clock): unknown {
  const [worst] = worstFirst(fate);
  const reason = worst?.reason ?? errorCodes.internal.reason;
  const lastTransitionTime = renderTime(clock.now());
  const message = (worst === undefined ? messagesOf(fate, "failed")[0] : renderProblem(worst)) ?? "";
  return { conditions: [{ type: "Ready", status: "False", reason, message, lastTransitionTime }] };
}

/** What sets the object apart from those that this node is to put in force. */
export function standingOf({ problems, items }: ObjectFate): ObjectReport["standing"] {
  const reasons = new Set(problems.map(({ reason }) => reason));
  if (items.length === 0 && reasons.has(notSelectedReason)) return "not-selected";
  return reasons.has(notServedReason) ? "not-served" : undefined;
}

/** Why it is not in force; of what is, what the user should know. */
export function messagesOf(fate: ObjectFate, state: ObjectState): readonly string[] {
  const problems = worstFirst(fate)
    .filter(({ severity }) => state === "in-force" || severity !== "note")
    .map(renderProblem);
  const failures = fate.items.flatMap((item) => (item.error === undefined ? [] : [item.error.message]));
  return [...new Set([...failures, ...problems])];
}

function worstFirst({ problems }: ObjectFate): readonly PlanProblem[] {
  return problems.toSorted((a, b) => weight(a) - weight(b));
}

function weight(problem: PlanProblem): number {
  return { refused: 0, waiting: 1, note: 2 }[problem.severity];
}

function renderProblem({ origin: { position }, message }: PlanProblem): string {
  return position === undefined ? message : `${position.file}:${position.line}: ${message}`;
}
