import { aggregateStatus, type FleetOutcome, type NodeResult } from "../aggregate.ts";
import type { KubeObject } from "../kind.ts";
import { policyConditions, policyStatusSchema } from "./policy-status.ts";

/** As of any kind, and `Valid` also where nodes could not read the policy: they say only that it is not ready. */
export function aggregatePolicy(object: KubeObject, fleet: FleetOutcome): unknown {
  const source = { conditions: policyConditions, statusSchema: policyStatusSchema };
  return aggregateStatus(source, object, { ...fleet, results: fleet.results.map(withValid) });
}

function withValid(result: NodeResult): NodeResult {
  const { conditions } = result;
  const fault = conditions.find(({ reason }) => reason === "Invalid");
  if (fault === undefined || conditions.some(({ type }) => type === "Valid")) return result;
  return { ...result, conditions: [...conditions, { ...fault, type: "Valid" }] };
}
