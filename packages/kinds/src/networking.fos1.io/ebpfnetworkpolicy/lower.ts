import type { PolicyIntent, PolicyStatement, PolicySubject } from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed } from "../../kind.ts";
import { lowerNothing, notServed } from "../../not-served.ts";
import { policyModes, readContext, type ReadContext } from "../../policy/read-context.ts";
import { unknownProblems } from "../../policy/unknown-problems.ts";
import { inNamespace, labelsOf, toRequirements } from "../../policy/requirements.ts";
import { readRule, type AnyRule } from "./read-rule.ts";
import type { EBPFNetworkPolicy } from "./schema.ts";

const directions = ["ingress", "egress"] as const;

/** A policy of the tier below; each rule is a statement of its own, since the first that is met decides. */
export function lowerNetworkPolicy(parsed: Parsed<EBPFNetworkPolicy>): Lowered {
  const { policyType, priority, stateful } = parsed.object.spec;
  if (policyType !== "filtering")
    return lowerNothing([notServed(parsed, "/spec/policyType", "nothing is kept from anybody by it")]);
  const context = readContext(parsed);
  const subject = subjectOf(parsed, context);
  const problems: PlanProblem[] = stateful
    ? []
    : [notServed(parsed, "/spec/stateful", "replies to what was allowed pass all the same")];
  const statements = directions.flatMap((direction) =>
    (parsed.object.spec[direction] ?? []).map((rule: AnyRule, index) => {
      const at = `/spec/${direction}/${index}`;
      problems.push(...unknownProblems(parsed, context, at, rule.action === "deny"));
      return statementOf(rule, direction, at, subject, context);
    }),
  );
  const intent: PolicyIntent = {
    feature: "policy",
    about: "policy",
    origin: context.originOf(""),
    tier: "fallback",
    priority,
    policy: { ref: parsed.ref, ...policyModes(parsed), statements },
  };
  return { intents: statements.length === 0 ? [] : [intent], problems };
}

/** Nodes, or pods of the policy's own namespace, if that has the labels. */
function subjectOf({ ref, object }: Parsed<EBPFNetworkPolicy>, context: ReadContext): PolicySubject {
  const { podSelector = {}, namespaceSelector = {}, nodeSelector } = object.spec.selector ?? {};
  if (nodeSelector !== undefined) {
    const where = toRequirements(nodeSelector, labelsOf("node"));
    return { selects: "nodes", where, origin: context.originOf("/spec/selector/nodeSelector") };
  }
  const where = [
    inNamespace(ref.namespace),
    ...toRequirements(podSelector, labelsOf("pod")),
    ...toRequirements(namespaceSelector, labelsOf("namespace-label")),
  ];
  return { selects: "pods", where, origin: context.originOf("/spec/selector") };
}

function statementOf(
  rule: AnyRule,
  direction: "ingress" | "egress",
  at: string,
  subject: PolicySubject,
  context: ReadContext,
): PolicyStatement {
  const nothing = { isDefaultDeny: false, allow: [], deny: [] };
  const list = rule.action === "deny" ? "deny" : "allow";
  const own = { ...nothing, [list]: [readRule(rule, direction, at, context)] };
  return {
    origin: context.originOf(at),
    subject,
    ingress: direction === "ingress" ? own : nothing,
    egress: direction === "egress" ? own : nothing,
    options: {},
  };
}
