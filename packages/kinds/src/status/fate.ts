import { errorCodes, sameRef } from "@bpfleet/base";
import type { ObjectRef } from "@bpfleet/base";
import type { HookSpec, ItemResult, PlanProblem } from "@bpfleet/kernel";
import type { Outcome } from "../kind.ts";
import type { Aspect } from "./conditions.ts";

/** What became of a set of plan items, worst first. */
export interface Fate {
  readonly state: "in-force" | "pending" | "failed";
  readonly reason: string;
  readonly message: string;
}

/** One object's part of an outcome. */
export class ObjectFate {
  readonly #outcome: Outcome;
  readonly #ref: ObjectRef;
  readonly problems: readonly PlanProblem[];

  constructor(ref: ObjectRef, outcome: Outcome) {
    this.#outcome = outcome;
    this.#ref = ref;
    this.problems = outcome.problems.filter((problem) => sameRef(problem.origin.object, ref));
  }

  problemsOf(severity: PlanProblem["severity"]): readonly PlanProblem[] {
    return this.problems.filter((problem) => problem.severity === severity);
  }

  programKeys(): readonly string[] {
    return this.#outcome.plan.programs.filter((program) => this.#owns(program.owner)).map((program) => program.key);
  }

  mapKeys(): readonly string[] {
    return this.#outcome.plan.maps.filter((map) => this.#owns(map.owner)).map((map) => map.key);
  }

  /** The hooks that programs of the object are members of. */
  hooks(): readonly HookSpec[] {
    const programs = new Set(this.programKeys());
    return this.#outcome.plan.hooks.filter((hook) => hook.members.some((member) => programs.has(member.program)));
  }

  result(item: ItemResult["item"], key: string): ItemResult | undefined {
    return this.#outcome.items.find((result) => result.item === item && result.key === key);
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

  /** Whether the declaration is served as written; what one should know stands in its message. */
  accepted(): Aspect {
    const [refused] = this.problemsOf("refused");
    const said = this.problems.filter((problem) => problem.severity !== "waiting").map((problem) => problem.message);
    if (refused !== undefined) return { type: "Accepted", status: "False", reason: refused.reason, message: said.join("; ") };
    return { type: "Accepted", status: "True", reason: "Accepted", message: said.length === 0 ? "served as declared" : said.join("; ") };
  }

  #owns(owner: ObjectRef | undefined): boolean {
    return owner !== undefined && sameRef(owner, this.#ref);
  }
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
  if (result.error === undefined) return { reason: "InProgress", message: `${result.item} ${result.key} waits for what it needs` };
  return { reason: errorCodes[result.error.code].reason, message: result.error.message };
}
