import { renderHookKey, type FeatureInstance, type NodePlan, type PolicyReach } from "@bpfleet/kernel";
import type { Intent } from "../feature.ts";
import { selectPods } from "./compile/statements.ts";
import type { PolicyFeatureIntent, PolicyIntent, WorkloadIntent } from "./intent.ts";
import { feature, nodeInstanceKey, type PolicyData } from "./instances.ts";
import type { Requirement } from "./policy.ts";

/** Whom policies select, before it is known where that is. */
export interface PolicyScope {
  /** Keys of endpoints. */
  readonly selected: ReadonlySet<string>;
  readonly reach: PolicyReach;
}

export function policyScope(intents: readonly Intent[]): PolicyScope {
  const own = intents.filter((intent): intent is PolicyFeatureIntent => intent.feature === feature);
  const policies = own.filter(
    (intent): intent is PolicyIntent => intent.about === "policy" && intent.policy.mode !== "shadow",
  );
  const local = own.filter(
    (intent): intent is WorkloadIntent => intent.about === "workload" && intent.endpoint !== undefined,
  );
  const { pods } = selectPods(policies, local, { nodeName: "" }, new Map());
  const selected = new Set(
    pods.flatMap(({ key, statements, isNode }) => (statements.length > 0 && isNode !== true ? [key] : [])),
  );
  return { selected, reach: reachOf(policies) };
}

function reachOf(policies: readonly PolicyIntent[]): PolicyReach {
  const namespaces = new Set<string>();
  for (const { policy } of policies) {
    for (const { subject } of policy.statements) {
      if (subject.selects !== "pods") continue;
      const named = namespacesOf(subject.where);
      if (named === undefined) return "everywhere";
      for (const each of named) namespaces.add(each);
    }
  }
  return [...namespaces].toSorted();
}

/** `undefined`: any. */
function namespacesOf(where: readonly Requirement[]): readonly string[] | undefined {
  return where.find(({ on, operator }) => on === "namespace-name" && operator === "In")?.values;
}

export interface JudgedInterface {
  readonly name: string;
  /** In some direction: then the flows there are on record. */
  readonly isRestricted: boolean;
}

/** Interfaces of the node at which a plan judges, by their numbers. */
export function judgedAt(plan: Pick<NodePlan, "instances">): ReadonlyMap<number, JudgedInterface> {
  const node = plan.instances.find((each) => each.feature === feature && each.key === nodeInstanceKey);
  return new Map(
    endpointsOf(node).flatMap(({ ifindex, interface: name, isNode, isRestricted = false }) => {
      return isNode === true ? [] : [[ifindex, { name, isRestricted }] as const];
    }),
  );
}

/** Keys of the hooks that must be there for it. */
export function hooksAt({ name }: JudgedInterface): readonly string[] {
  return (["ingress", "egress"] as const).map((direction) => renderHookKey({ hook: "tc", interface: name, direction }));
}

function endpointsOf(node: FeatureInstance | undefined): PolicyData["endpoints"] {
  return (node?.data as PolicyData | undefined)?.endpoints ?? [];
}

/** The map in which an edit is one store. */
export const policyTableKey = "policy/table";
