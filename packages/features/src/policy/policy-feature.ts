import type { Feature } from "../feature.ts";
import { counterRoles, countPolicy } from "./counters.ts";
import { explainPolicy } from "./explain.ts";
import type { PolicyFeatureIntent } from "./intent.ts";
import { feature, planPolicy, scratch } from "./plan.ts";
import { passReasons } from "./reasons.ts";

/** Who may talk to whom: judges the packets of pods at the node's end of their interfaces. */
export const policy: Feature<PolicyFeatureIntent> = {
  name: feature,
  plan: planPolicy,
  passReasons,
  counterRoles,
  measuredRoles: ["lines"],
  counters: countPolicy,
  explanations: {
    twin: { globals: { dry_run: true }, scratch: scratch.name },
    roles: [],
    explain: explainPolicy,
  },
};
