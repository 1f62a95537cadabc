import { nodeInstanceKey, policy, type Intent, type PolicyData } from "@bpfleet/features";
import type { NodeFacts, NodePlan, RuleRef } from "@bpfleet/kernel";
import { policyIntents, whoIsThere } from "./who-is.ts";

/** What is planned of policies on this node, with names for what the kernel knows by number. */
export interface PolicyState {
  readonly nodeName: string;
  /** Of all objects, by the numbers that the table in force has for them. */
  readonly rules: readonly RuleRef[];
  /** `undefined` where no policy selects a pod. */
  readonly data: PolicyData | undefined;
  /** Address → name, of everybody whose address is known. */
  readonly names: Readonly<Record<string, string>>;
  /** What of the traffic at an interface is not judged. */
  readonly notes: readonly { readonly ifindex: number; readonly note: string }[];
  /** Role → key of the map. */
  readonly maps: Readonly<Record<string, string>>;
}

export function describePolicy(plan: NodePlan, intents: readonly Intent[], facts: NodeFacts): PolicyState {
  const node = plan.instances.find(({ feature, key }) => feature === policy.name && key === nodeInstanceKey);
  const known = whoIsThere(intents, facts);
  return {
    nodeName: facts.nodeName,
    rules: node?.rules ?? [],
    data: node?.data as PolicyData | undefined,
    names: {
      ...serviceNames(intents),
      ...Object.fromEntries([...known].map(([address, { name }]) => [address, name])),
    },
    notes: Object.values(facts.endpoints ?? {}).flatMap((endpoint) =>
      endpoint.found && endpoint.note !== undefined ? [{ ifindex: endpoint.ifindex, note: endpoint.note }] : [],
    ),
    maps: node?.maps ?? {},
  };
}

function serviceNames(intents: readonly Intent[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    policyIntents(intents).flatMap((intent) =>
      intent.about !== "service"
        ? []
        : [...intent.clusterAddresses, ...intent.externalAddresses].map((address) => [
            address,
            `service ${intent.namespace}/${intent.name}`,
          ]),
    ),
  );
}
