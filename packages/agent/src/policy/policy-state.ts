import { policy, type Intent, type PolicyData } from "@bpfleet/features";
import type { NodeFacts, NodePlan, RuleRef } from "@bpfleet/kernel";
import { whoIsThere } from "./who-is.ts";

/** What is planned of policies on this node, with names for what the kernel knows by number. */
export interface PolicyState {
  readonly nodeName: string;
  /** Of all objects, by the numbers that the table in force has for them. */
  readonly rules: readonly RuleRef[];
  /** `undefined` where no policy selects a pod. */
  readonly data: PolicyData | undefined;
  /** Address → name, of everybody whose address is known. */
  readonly names: Readonly<Record<string, string>>;
  /** Role → key of the map. */
  readonly maps: Readonly<Record<string, string>>;
}

export function describePolicy(plan: NodePlan, intents: readonly Intent[], facts: NodeFacts): PolicyState {
  const node = plan.instances.find(
    ({ feature, owner }) => feature === policy.name && owner.group === "" && owner.kind === "Node",
  );
  const known = whoIsThere(intents, facts);
  return {
    nodeName: facts.nodeName,
    rules: node?.rules ?? [],
    data: node?.data as PolicyData | undefined,
    names: Object.fromEntries([...known].map(([address, { name }]) => [address, name])),
    maps: node?.maps ?? {},
  };
}
