import type { Static } from "typebox";
import type { Column, KubeObject, Outcome, Parsed } from "../kind.ts";
import { ageColumn } from "../schema/columns.ts";
import { commonStatus } from "../schema/conditions.ts";
import { Type } from "../schema/type.ts";
import { stampStatus, type Aspect } from "../status/conditions.ts";
import { ObjectFate, readyAspect } from "../status/fate.ts";

export const policyStatusSchema = Type.Object(
  {
    node: Type.Optional(Type.String({ description: "The node that this status is of, where there is only one." })),
    ...commonStatus,
  },
  { description: "What became of it." },
);
export type PolicyStatus = Static<typeof policyStatusSchema>;

export const policyConditions = {
  Ready: "The policy is in force as declared; else what keeps it from that.",
  Valid: "Nothing is wrong with it. Cilium's word.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
};

export const policyColumns: readonly Column[] = [
  ageColumn,
  {
    name: "Valid",
    jsonPath: '.status.conditions[?(@.type=="Valid")].status',
    type: "string",
    priority: 0,
    description: "Whether nothing is wrong with it.",
  },
  {
    name: "Ready",
    jsonPath: '.status.conditions[?(@.type=="Ready")].status',
    type: "string",
    priority: 0,
    description: "Whether it is in force.",
  },
  {
    name: "Reason",
    jsonPath: '.status.conditions[?(@.type=="Ready")].message',
    type: "string",
    priority: 1,
    description: "Why it is not.",
  },
];

const valid: Aspect = { type: "Valid", status: "True", reason: "Valid", message: "nothing is wrong with it" };

/** What became of a policy on this node. */
export function policyStatus(parsed: Parsed<KubeObject>, outcome: Outcome): PolicyStatus {
  const fate = new ObjectFate(parsed.ref, outcome);
  const accepted = fate.accepted();
  const [waiting] = fate.problemsOf("waiting");
  const served: readonly Aspect[] =
    waiting === undefined
      ? [accepted]
      : [accepted, { type: "Accepted", status: "False", reason: waiting.reason, message: waiting.message }];
  return stampStatus(
    { node: outcome.nodeName },
    [readyAspect(served, "in force"), valid, accepted],
    parsed.object.metadata.generation,
    outcome,
  );
}
