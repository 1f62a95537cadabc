import { errorCodes, refKey, renderTime, type Clock, type ObjectRef } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import {
  notSelectedReason,
  type FeatureInstance,
  type ItemResult,
  type NodePlan,
  type PlanProblem,
} from "@bpfleet/kernel";
import { instanceHooks, notServedReason } from "@bpfleet/kinds";
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
  readonly #counters: Map<string, InstanceCounters[]>;
  readonly #items: readonly ItemResult[];
  readonly #plan: NodePlan;
  #shares: ReadonlyMap<string, Share> | undefined;
  #places: Places | undefined;
  /** What was asked for last. */
  #last:
    | { readonly text: string; readonly hooks: readonly string[]; readonly items: readonly ItemResult[] }
    | undefined;

  constructor(
    plan: NodePlan,
    problems: readonly PlanProblem[],
    items: readonly ItemResult[],
    counters: readonly InstanceCounters[],
  ) {
    this.#problems = Map.groupBy(problems, (problem) => refKey(problem.origin.object));
    this.#counters = Map.groupBy(counters, (each) => refKey(each.owner));
    this.#plan = plan;
    this.#items = items;
  }

  countersOf(ref: ObjectRef): ObjectFate["counters"] {
    return this.#counters.get(refKey(ref)) ?? [];
  }

  of(ref: ObjectRef): ObjectFate {
    const key = refKey(ref);
    this.#shares ??= sharesOf(this.#plan);
    return {
      problems: this.#problems.get(key) ?? [],
      items: this.#itemsOf(this.#shares.get(key)),
      counters: this.countersOf(ref),
    };
  }

  /** Many policies may share thousands of hooks: those that select the same pods are given one list. */
  #itemsOf(share: Share | undefined): readonly ItemResult[] {
    if (share === undefined) return [];
    const [instance, ...others] = share.instances;
    if (instance === undefined || others.length > 0) return this.#findItems(share);
    const hooks = instanceHooks(instance, this.#plan) ?? [];
    const text = JSON.stringify([share.maps, share.programs, share.hooks, instance.maps, instance.programs]);
    if (this.#last?.hooks !== hooks || this.#last.text !== text)
      this.#last = { text, hooks, items: this.#findItems(share) };
    return this.#last.items;
  }

  #findItems(share: Share): readonly ItemResult[] {
    const places = (this.#places ??= placesOf(this.#items));
    const found = new Set<number>();
    const add = (item: ItemResult["item"], keys: Iterable<string>): void => {
      for (const key of keys) {
        const at = places.get(item)?.get(key);
        if (at !== undefined) found.add(at);
      }
    };
    add("map", share.maps);
    add("program", share.programs);
    add("hook", share.hooks);
    for (const instance of share.instances) {
      add("map", Object.values(instance.maps));
      add("program", instance.programs);
      add("hook", instanceHooks(instance, this.#plan) ?? []);
    }
    return [...Uint32Array.from(found).toSorted()].flatMap((at) => this.#items[at] ?? []);
  }
}

/** Of items, by what they are and their keys. */
type Places = ReadonlyMap<string, ReadonlyMap<string, number>>;

function placesOf(items: readonly ItemResult[]): Places {
  const places = new Map<string, Map<string, number>>();
  for (const [at, { item, key }] of items.entries()) {
    const ofItem = places.get(item);
    if (ofItem === undefined) places.set(item, new Map([[key, at]]));
    else ofItem.set(key, at);
  }
  return places;
}

/** What is there for one object: a hook serves the owners of all its members, and what an instance shares its owner. */
interface Share {
  readonly maps: string[];
  readonly programs: string[];
  readonly hooks: string[];
  /** Those that say at which hooks they work. */
  readonly instances: FeatureInstance[];
}

function sharesOf(plan: NodePlan): ReadonlyMap<string, Share> {
  const shares = new Map<string, Share>();
  const shareOf = (owner: ObjectRef): Share => {
    const key = refKey(owner);
    const share = shares.get(key) ?? { maps: [], programs: [], hooks: [], instances: [] };
    shares.set(key, share);
    return share;
  };
  const ofPrograms = new Map<string, Share>();
  for (const { key, owner } of plan.maps) if (owner !== undefined) shareOf(owner).maps.push(key);
  for (const { key, owner } of plan.programs) {
    if (owner === undefined) continue;
    const share = shareOf(owner);
    ofPrograms.set(key, share);
    share.programs.push(key);
  }
  for (const { key, members } of plan.hooks)
    for (const { program } of members) ofPrograms.get(program)?.hooks.push(key);
  for (const instance of plan.instances)
    if (instance.hooks !== undefined) shareOf(instance.owner).instances.push(instance);
  return shares;
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
