import type { Policy, PolicyDirection, PolicyIntent, PolicyRule, PolicyStatement } from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed } from "../kind.ts";
import { notServed } from "../not-served.ts";
import { serveRule } from "./serve-rule.ts";

/** The policy as far as it is served, and a problem for each part that is not: none of them lets anything through. */
export function lowerPolicy(parsed: Parsed, policy: Policy): Lowered {
  const problems: PlanProblem[] = [];
  const statements = policy.statements.map((statement) => serveStatement(statement, parsed, problems));
  problems.push(...policy.statements.flatMap((statement) => tellWishes(statement, parsed)));
  const origin = { object: parsed.ref, path: "", position: parsed.positionOf("") };
  const intent: PolicyIntent = {
    feature: "policy",
    about: "policy",
    origin,
    tier: "policy",
    policy: { ...policy, statements },
  };
  return { intents: [intent], problems };
}

function serveStatement(statement: PolicyStatement, parsed: Parsed, problems: PlanProblem[]): PolicyStatement {
  const { ingress, egress, subject } = statement;
  const isOfNode = subject.selects === "nodes";
  return {
    ...statement,
    ingress: serveDirection(ingress, isOfNode, parsed, problems),
    egress: serveDirection(egress, isOfNode, parsed, problems),
  };
}

/** Nobody is let through or kept out by what hardware there is: the wish is on record, and the policy holds without it. */
function tellWishes({ origin, options }: PolicyStatement, parsed: Parsed): readonly PlanProblem[] {
  const wishes = Object.entries(options).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
  if (wishes.length === 0) return [];
  const path = `${origin.path}/options`;
  const message = `asks for hardware (${wishes.join(", ")}), which is not served yet: in force without it`;
  const place = { object: parsed.ref, path, position: parsed.positionOf(path) };
  return [{ origin: place, reason: "HardwareNotServed", message, severity: "note" }];
}

function serveDirection(
  direction: PolicyDirection,
  isOfNode: boolean,
  parsed: Parsed,
  problems: PlanProblem[],
): PolicyDirection {
  const serve = (rule: PolicyRule, isDeny: boolean): PolicyRule => {
    const served = serveRule(rule, isDeny, isOfNode);
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
