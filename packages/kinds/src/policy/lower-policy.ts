import type { Policy, PolicyDirection, PolicyIntent, PolicyRule, PolicyStatement } from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed } from "../kind.ts";
import { notServed } from "../not-served.ts";
import { serveRule } from "./serve-rule.ts";

/** The policy as far as it is served, and a problem for each part that is not: none of them lets anything through. */
export function lowerPolicy(parsed: Parsed, policy: Policy): Lowered {
  const problems: PlanProblem[] = [];
  const statements = policy.statements.flatMap((statement) => {
    if (statement.subject.selects === "pods") return [serveStatement(statement, parsed, problems)];
    problems.push(notServed(parsed, statement.subject.origin.path, "no traffic of nodes is denied by it"));
    return [];
  });
  const origin = { object: parsed.ref, path: "", position: parsed.positionOf("") };
  const intent: PolicyIntent = {
    feature: "policy",
    about: "policy",
    origin,
    tier: "policy",
    policy: { ...policy, statements },
  };
  return { intents: statements.length === 0 ? [] : [intent], problems };
}

function serveStatement(statement: PolicyStatement, parsed: Parsed, problems: PlanProblem[]): PolicyStatement {
  const { ingress, egress } = statement;
  return {
    ...statement,
    ingress: serveDirection(ingress, parsed, problems),
    egress: serveDirection(egress, parsed, problems),
  };
}

function serveDirection(direction: PolicyDirection, parsed: Parsed, problems: PlanProblem[]): PolicyDirection {
  const serve = (rule: PolicyRule, isDeny: boolean): PolicyRule => {
    const served = serveRule(rule, isDeny);
    const effect = isDeny ? "everybody is denied in place of" : "nobody is let through by";
    for (const { origin, what } of served.unserved) problems.push(notServed(parsed, origin.path, `${effect} ${what}`));
    if (isDeny && rule.bandwidth !== undefined)
      problems.push(notServed(parsed, rule.origin.path, "it denies, and what is denied has no rate"));
    return served;
  };
  return {
    ...direction,
    allow: direction.allow.map((rule) => serve(rule, false)),
    deny: direction.deny.map((rule) => serve(rule, true)),
  };
}
