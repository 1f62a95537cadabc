import { renderRef, sameRef, type Issue } from "@bpfleet/base";
import type { Feature, FeaturePlan, Intent, PlanMemory } from "@bpfleet/features";
import { assemblePlan, type NodeFacts, type NodePlan, type PlanProblem } from "@bpfleet/kernel";
import { apiVersionOf, type Closing, type Kind, type Parsed } from "@bpfleet/kinds";
import { bugProblem, bugText, guarded } from "./guarded.ts";
import { lowerObjects, type LoweredObjects } from "./lowering.ts";
import type { StoredObject } from "./store/stored-object.ts";

/** One object with its kind, as its kind reads it. */
export interface AcceptedObject {
  readonly stored: StoredObject;
  readonly kind: Kind;
  readonly parsed: Parsed;
  /** Warnings. */
  readonly issues: readonly Issue[];
}

/** An object that no kind takes: it is not planned for. */
export interface RefusedObject {
  readonly stored: StoredObject;
  readonly kind: Kind | undefined;
  readonly issues: readonly Issue[];
  /** What holds in its place where it is served by nothing that it said before. */
  readonly closing: Closing | undefined;
}

export function isAccepted(object: object): object is AcceptedObject {
  return "parsed" in object;
}

export function acceptObject(stored: StoredObject, kinds: readonly Kind[]): AcceptedObject | RefusedObject {
  const { ref, object } = stored;
  const kind = kinds.find((candidate) => candidate.group === ref.group && candidate.kind === ref.kind);
  const refuse = (issues: readonly Issue[]): RefusedObject => ({
    stored,
    kind,
    issues,
    closing: kind?.closeRefused(stored),
  });
  if (kind === undefined || apiVersionOf(kind) !== object.apiVersion) {
    const message = `no matches for kind "${ref.kind}" in version "${object.apiVersion}"; 'ebpfctl api-resources' lists what there is`;
    return refuse([
      { path: "/kind", code: "unknown-kind", message, severity: "error", position: stored.positionOf("/kind") },
    ]);
  }
  if (kind.madeFrom !== undefined) {
    const message = `${kind.kind} objects are made of ${kind.madeFrom} objects, nobody writes them; remove ${stored.path}`;
    return refuse([{ path: "/kind", code: "made", message, severity: "error", position: stored.positionOf("/kind") }]);
  }
  const result = guarded(() => kind.parse(object, stored.positionOf));
  if ("bug" in result) return refuse([bugIssue(stored, result.bug)]);
  if (!result.value.ok) return refuse(result.value.issues);
  const parsed = result.value.value;
  if (!sameRef(parsed.ref, ref)) {
    const message = `${renderRef(parsed.ref)} is stored as ${renderRef(ref)}; remove ${stored.path} and apply it again`;
    return refuse([
      { path: "/metadata", code: "place", message, severity: "error", position: stored.positionOf("/metadata") },
    ]);
  }
  return { stored, kind, parsed, issues: result.value.issues };
}

export interface Compiled {
  readonly plan: NodePlan;
  /** Of lowering and planning, all objects. */
  readonly problems: readonly PlanProblem[];
  /** Some feature would rather go on with the plan before, which is not known. */
  readonly wantsEarlier: boolean;
}

/** The plan of all intents on this node as it is now; `memory` of one who plans for it again and again. */
export function planIntents(
  lowered: LoweredObjects,
  features: readonly Feature[],
  facts: NodeFacts,
  memory?: PlanMemory,
): Compiled {
  const { intents } = lowered;
  const problems = [...lowered.problems];
  const served = new Set(features.map((feature) => feature.name));
  for (const intent of intents) {
    if (served.has(intent.feature) || intent.isFact === true) continue;
    problems.push({
      origin: intent.origin,
      reason: "NotServed",
      severity: "refused",
      message: `nothing on this node serves ${intent.feature}`,
    });
  }
  const parts = features.map((feature) =>
    planFeature(
      feature,
      intents.filter((intent) => intent.feature === feature.name),
      facts,
      problems,
      memory,
    ),
  );
  const plan = assemblePlan(parts);
  const wantsEarlier = parts.some((part) => part.wantsEarlier === true);
  return { plan, problems: [...problems, ...plan.problems], wantsEarlier };
}

/** The plan of all objects; what is refused among them is closed. */
export function compilePlan(
  objects: readonly (AcceptedObject | RefusedObject)[],
  features: readonly Feature[],
  facts: NodeFacts,
): Compiled {
  const { intents, problems } = lowerObjects(objects.filter(isAccepted), facts);
  const closing = objects.flatMap((object) => (isAccepted(object) ? [] : (object.closing?.intents ?? [])));
  return planIntents({ intents: [...intents, ...closing], problems }, features, facts);
}

function planFeature(
  feature: Feature,
  intents: readonly Intent[],
  facts: NodeFacts,
  problems: PlanProblem[],
  memory: PlanMemory | undefined,
): FeaturePlan {
  const whole = guarded(() => feature.plan(intents, facts, memory));
  if ("value" in whole) return whole.value;
  const sound = intents.filter((intent) => {
    const alone = guarded(() => feature.plan([intent], facts));
    if ("bug" in alone)
      problems.push(
        bugProblem(intent.origin.object, `plan ${feature.name} of ${renderRef(intent.origin.object)}`, alone.bug),
      );
    return "value" in alone;
  });
  const rest = guarded(() => feature.plan(sound, facts));
  if ("value" in rest) return rest.value;
  for (const intent of sound) problems.push(bugProblem(intent.origin.object, `plan ${feature.name}`, rest.bug));
  return { maps: [], programs: [], attachments: [], instances: [], problems: [] };
}

function bugIssue(stored: StoredObject, bug: unknown): Issue {
  const message = bugText(`read ${renderRef(stored.ref)}`, bug);
  return { path: "", code: "internal", message, severity: "error", position: stored.positionOf("") };
}
