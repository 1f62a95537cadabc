import type { Feature } from "../feature.ts";
import { counterRoles, countFilter } from "./counters.ts";
import { explainFilter, explainRoles } from "./explain.ts";
import type { FilterIntent } from "./intent.ts";
import { feature, planFilter, scratch } from "./plan.ts";
import { passReasons } from "./reasons.ts";

/** Drops by address, limits by source, lets replies through, marks, accounts. */
export const filter: Feature<FilterIntent> = {
  name: feature,
  plan: planFilter,
  passReasons,
  counterRoles,
  counters: countFilter,
  explanations: {
    twin: { globals: { dry_run: true }, scratch: scratch.name },
    roles: explainRoles,
    explain: explainFilter,
  },
};
