import type { PolicyData, PolicyEndpoint } from "@bpfleet/features";
import { renderHookKey, type FeatureInstance, type NodePlan } from "@bpfleet/kernel";

/** Of the node's instance, worked out once for all objects of a plan. */
interface NodeEndpoints {
  readonly all: readonly PolicyEndpoint[];
  /** Of each endpoint: those of its interface. */
  readonly hooks: readonly (readonly string[])[];
  /** Hooks of the pods that were asked for last: many policies select the same thousands. */
  last: { readonly places: string; readonly hooks: readonly string[] };
}

const nobody = (): NodeEndpoints => ({ all: [], hooks: [], last: { places: "", hooks: [] } });
const known = new WeakMap<NodePlan, NodeEndpoints>();

/** Pods of this node that the policy of an instance selects, and the node itself where it does. */
export function selectedEndpoints({ data }: FeatureInstance, plan: NodePlan): readonly PolicyEndpoint[] {
  const { endpoints = [], places = [] } = (data ?? {}) as Partial<PolicyData>;
  if (places.length === 0) return endpoints;
  const { all } = nodeEndpoints(plan);
  return places.flatMap(([first, last]) => all.slice(first, last + 1));
}

/**
 * Keys of all hooks at which an instance works whose programs serve several; `undefined` where its own programs tell.
 * One list for those that select the same pods, as far as they are asked for one after the other.
 */
export function instanceHooks({ hooks, data }: FeatureInstance, plan: NodePlan): readonly string[] | undefined {
  const { places = [] } = (data ?? {}) as Partial<PolicyData>;
  if (hooks === undefined || places.length === 0) return hooks;
  const ofNode = nodeEndpoints(plan);
  const text = places.join(" ");
  if (ofNode.last.places !== text)
    ofNode.last = {
      places: text,
      hooks: places.flatMap(([first, last]) => ofNode.hooks.slice(first, last + 1).flat()),
    };
  return hooks.length === 0 ? ofNode.last.hooks : [...ofNode.last.hooks, ...hooks];
}

function nodeEndpoints(plan: NodePlan): NodeEndpoints {
  let found = known.get(plan);
  if (found === undefined) known.set(plan, (found = findNodeEndpoints(plan)));
  return found;
}

function findNodeEndpoints({ instances }: NodePlan): NodeEndpoints {
  const node = instances.find(({ feature, data }) => feature === "policy" && (data as PolicyData).about === "node");
  if (node === undefined) return nobody();
  const { endpoints: all } = node.data as PolicyData;
  const hooks = all.map(({ interface: name, isNode }) =>
    isNode === true
      ? []
      : (["ingress", "egress"] as const).map((direction) => renderHookKey({ hook: "tc", interface: name, direction })),
  );
  return { all, hooks, last: { places: "", hooks: [] } };
}
