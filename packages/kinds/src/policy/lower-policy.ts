import type { Lowered, Parsed } from "../kind.ts";
import { lowerNothing, notServed } from "../not-served.ts";
import type { Policy } from "@bpfleet/features";

/** A problem for the policy, and one for each part of it that is not served. */
export function lowerPolicy(parsed: Parsed, policy: Policy): Lowered {
  const rules = policy.statements.flatMap(({ ingress, egress }) => [
    ...ingress.allow,
    ...ingress.deny,
    ...egress.allow,
    ...egress.deny,
  ]);
  return lowerNothing([
    notServed(parsed, "/spec", "no traffic is denied by it"),
    ...rules.flatMap(({ unserved }) =>
      unserved.map(({ origin, what }) => notServed(parsed, origin.path, `${what} would need a proxy or a cloud`)),
    ),
  ]);
}
