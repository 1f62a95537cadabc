import type { FeatureInstance } from "@bpfleet/kernel";
import type { Feature, PlanMemory } from "../feature.ts";
import { CompileMemory } from "./compile/compile-memory.ts";
import { counterRoles, countPolicy } from "./counters.ts";
import { explainPolicy, learntRoles } from "./explain.ts";
import type { PolicyFeatureIntent } from "./intent.ts";
import { feature, type PolicyData } from "./instances.ts";
import { planPolicy, scratch } from "./plan.ts";
import { passReasons } from "./reasons.ts";
import { tendConnections } from "./tend-connections.ts";

function isLimiting({ data }: FeatureInstance): boolean {
  return ((data as PolicyData).limited ?? []).length > 0;
}

/** Who may talk to whom: judges the packets of pods at the node's end of their interfaces. */
export const policy: Feature<PolicyFeatureIntent> = {
  name: feature,
  plan: (intents, facts, memory) => planPolicy(intents, facts, memory && memoryIn(memory)),
  passReasons,
  counterRoles,
  measuredRoles: ["lines"],
  rememberedRoles: ["hits", "base"],
  counters: countPolicy,
  upkeep: { everyMs: 5000, isNeeded: isLimiting, tend: tendConnections },
  explanations: {
    twin: { globals: { dry_run: true }, scratch: scratch.name },
    roles: learntRoles,
    explain: explainPolicy,
  },
};

function memoryIn(memory: PlanMemory): CompileMemory {
  const known = memory.get(feature);
  if (known instanceof CompileMemory) return known;
  const fresh = new CompileMemory();
  memory.set(feature, fresh);
  return fresh;
}
