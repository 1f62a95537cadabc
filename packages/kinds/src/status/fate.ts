import { errorCodes, refKey, sameRef } from "@bpfleet/base";
import type { ObjectRef } from "@bpfleet/base";
import type { HookSpec, ItemResult, NodePlan, PlanProblem } from "@bpfleet/kernel";
import type { Outcome } from "../kind.ts";
import type { Aspect } from "./conditions.ts";

/** What became of a set of plan items, worst first. */
export interface Fate {
  readonly state: "in-force" | "pending" | "failed";
  readonly reason: string;
  readonly message: string;
}

/** The part of a plan that is one object's. */
interface Share {
  readonly maps: string[];
  readonly programs: string[];
  /** The hooks that programs of the object are members of. */
  readonly hooks: HookSpec[];
}

/** One object's part of an outcome. */
export class ObjectFate {
  readonly #outcome: Outcome;
  readonly #share: Share;
  #results: ReadonlyMap<string, ReadonlyMap<string, ItemResult>> | undefined;
  readonly problems: readonly PlanProblem[];

  constructor(ref: ObjectRef, outcome: Outcome) {
    this.#outcome = outcome;
    this.#share = sharesOf(outcome.plan).get(refKey(ref)) ?? { maps: [], programs: [], hooks: [] };
    this.problems = outcome.problems.filter((problem) => sameRef(problem.origin.object, ref));
  }

  problemsOf(severity: PlanProblem["severity"]): readonly PlanProblem[] {
    return this.problems.filter((problem) => problem.severity === severity);
  }

  programKeys(): readonly string[] {
    return this.#share.programs;
  }

  mapKeys(): readonly string[] {
    return this.#share.maps;
  }

  hooks(): readonly HookSpec[] {
    return this.#share.hooks;
  }

  result(item: ItemResult["item"], key: string): ItemResult | undefined {
    this.#results ??= resultsByKey(this.#outcome.items);
    return this.#results.get(item)?.get(key);
  }

  /** The worst of what became of the items. */
  fateOf(item: ItemResult["item"], keys: readonly string[]): Fate {
    const results = keys.map((key) => this.result(item, key));
    const failed = results.find((result) => result?.state === "failed");
    if (failed !== undefined) return { state: "failed", ...explain(failed) };
    const waiting = results.find((result) => result?.state !== "in-force");
    if (waiting !== undefined) return { state: "pending", ...explain(waiting) };
    if (results.includes(undefined)) return { state: "pending", reason: "InProgress", message: "not tried yet" };
    return { state: "in-force", reason: "InForce", message: "" };
  }

  /** Whether the declaration is served as written: why it is not, else what one should know. */
  accepted(): Aspect {
    const refused = this.problemsOf("refused");
    const [first] = refused;
    if (first !== undefined)
      return { type: "Accepted", status: "False", reason: first.reason, message: messagesOf(refused).join("; ") };
    const notes = messagesOf(this.problemsOf("note"));
    return {
      type: "Accepted",
      status: "True",
      reason: "Accepted",
      message: notes.length === 0 ? "served as declared" : notes.join("; "),
    };
  }
}

/** Objects that share all items share the list of their results. */
const knownResults = new WeakMap<readonly ItemResult[], ReadonlyMap<string, ReadonlyMap<string, ItemResult>>>();

/** Without a text for each: there are thousands, of each of many objects. */
function resultsByKey(items: readonly ItemResult[]): ReadonlyMap<string, ReadonlyMap<string, ItemResult>> {
  const known = knownResults.get(items);
  if (known !== undefined) return known;
  const results = new Map<string, Map<string, ItemResult>>();
  for (const result of items) {
    const ofItem = results.get(result.item);
    if (ofItem === undefined) results.set(result.item, new Map([[result.key, result]]));
    else ofItem.set(result.key, result);
  }
  knownResults.set(items, results);
  return results;
}

function messagesOf(problems: readonly PlanProblem[]): readonly string[] {
  return problems.map(({ message }) => message);
}

/** A plan never changes, and many objects ask for their share of the same one. */
const knownShares = new WeakMap<NodePlan, ReadonlyMap<string, Share>>();

function sharesOf(plan: NodePlan): ReadonlyMap<string, Share> {
  const known = knownShares.get(plan);
  if (known !== undefined) return known;
  const shares = new Map<string, Share>();
  const shareOf = (owner: ObjectRef): Share => {
    const key = refKey(owner);
    const share = shares.get(key) ?? { maps: [], programs: [], hooks: [] };
    shares.set(key, share);
    return share;
  };
  for (const map of plan.maps) if (map.owner !== undefined) shareOf(map.owner).maps.push(map.key);
  const owners = new Map<string, ObjectRef>();
  for (const { key, owner } of plan.programs) {
    if (owner === undefined) continue;
    owners.set(key, owner);
    shareOf(owner).programs.push(key);
  }
  for (const hook of plan.hooks) {
    const ofHook = new Set(hook.members.flatMap((member) => owners.get(member.program) ?? []).map(shareOf));
    for (const share of ofHook) share.hooks.push(hook);
  }
  knownShares.set(plan, shares);
  return shares;
}

export function aspectOf(type: string, fate: Fate, fine: Pick<Aspect, "reason" | "message">): Aspect {
  if (fate.state === "in-force") return { type, status: "True", ...fine };
  return { type, status: "False", reason: fate.reason, message: fate.message };
}

/** True when every aspect is; else it says what the first one that is not says. */
export function readyAspect(aspects: readonly Aspect[], message: string): Aspect {
  const missing = aspects.find((aspect) => aspect.status !== "True");
  if (missing === undefined) return { type: "Ready", status: "True", reason: "Ready", message };
  return { type: "Ready", status: missing.status, reason: missing.reason, message: missing.message };
}

function explain(result: ItemResult): { readonly reason: string; readonly message: string } {
  if (result.error === undefined)
    return { reason: "InProgress", message: `${result.item} ${result.key} waits for what it needs` };
  // A newer daemon may have codes that are not known here.
  const code: { readonly reason: string } | undefined = errorCodes[result.error.code];
  return { reason: (code ?? errorCodes.internal).reason, message: result.error.message };
}
