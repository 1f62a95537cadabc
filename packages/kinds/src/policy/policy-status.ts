import { sameRef, type ObjectRef } from "@bpfleet/base";
import { notSelectedReason } from "@bpfleet/kernel";
import type { Static } from "typebox";
import type { Column, KubeObject, Outcome, Parsed } from "../kind.ts";
import { ageColumn } from "../schema/columns.ts";
import { commonStatus } from "../schema/conditions.ts";
import { Type } from "../schema/type.ts";
import { stampStatus, type Aspect } from "../status/conditions.ts";
import { aspectOf, ObjectFate, readyAspect } from "../status/fate.ts";
import { instanceHooks, selectedEndpoints } from "./selected-endpoints.ts";

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
  Enforced: "What is served of it decides on packets of the pods that it selects.",
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

const paused = { reason: "Paused", message: "paused on this node; 'ebpfctl resume' puts it back in force" };

/** What became of a policy on this node. */
export function policyStatus(parsed: Parsed<KubeObject>, outcome: Outcome): PolicyStatus {
  const fate = new ObjectFate(parsed.ref, outcome);
  const accepted = fate.accepted();
  const [waiting] = fate.problemsOf("waiting");
  const enforced = enforcedAspects(parsed.ref, fate, outcome);
  const waits: readonly Aspect[] =
    waiting === undefined
      ? []
      : [{ type: "Enforced", status: "False", reason: waiting.reason, message: waiting.message }];
  return stampStatus(
    { node: outcome.nodeName },
    [
      elsewhere(fate) ?? readyAspect([accepted, ...waits, ...enforced], "in force"),
      valid,
      accepted,
      ...[...waits, ...enforced].slice(0, 1),
    ],
    parsed.object.metadata.generation,
    outcome,
  );
}

/** It is about nodes, and this one is none of them. */
function elsewhere(fate: ObjectFate): Aspect | undefined {
  const note = fate.problemsOf("note").find(({ reason }) => reason === notSelectedReason);
  if (note === undefined || fate.problemsOf("refused").length > 0) return undefined;
  return { type: "Ready", status: "True", reason: "NotSelected", message: note.message };
}

/** Nothing is told where the policy selects no pod of this node. */
export function enforcedAspects(
  ref: ObjectRef,
  fate: ObjectFate,
  { plan, isPaused, counters }: Outcome,
): readonly Aspect[] {
  const instance = plan.instances.find(({ feature, owner }) => feature === "policy" && sameRef(owner, ref));
  if (instance === undefined) return [];
  if (isPaused) return [{ type: "Enforced", status: "False", ...paused }];
  const fates = [
    fate.fateOf("map", Object.values(instance.maps)),
    fate.fateOf("program", instance.programs),
    fate.fateOf("hook", instanceHooks(instance, plan) ?? []),
  ];
  const [worst] = (["failed", "pending", "in-force"] as const).flatMap((state) =>
    fates.filter((each) => each.state === state),
  );
  if (worst === undefined) return [];
  if ((instance.data as { readonly mode?: string } | undefined)?.mode === "shadow")
    return [aspectOf("Enforced", worst, { reason: "Shadow", message: triedText(instance, plan, counters) })];
  const whose = whomOf(instance, plan, { pods: "the pods it selects", node: "the node itself", and: ", and of " });
  return [aspectOf("Enforced", worst, { reason: "Enforced", message: `decides on the packets of ${whose}` })];
}

type Instance = Outcome["plan"]["instances"][number];

function whomOf(
  instance: Instance,
  plan: Outcome["plan"],
  { pods, node, and }: { readonly pods: string; readonly node: string; readonly and: string },
): string {
  const endpoints = selectedEndpoints(instance, plan);
  const ofNode = endpoints.filter(({ isNode }) => isNode === true).length;
  if (ofNode === 0) return pods;
  return ofNode === endpoints.length ? node : `${pods}${and}${node}`;
}

/** What is only tried out decides nothing. */
function triedText(instance: Instance, plan: Outcome["plan"], counters: Outcome["counters"]): string {
  const own = counters.find(({ owner }) => sameRef(owner, instance.owner));
  const { would_drop: drop = 0, would_pass: pass = 0 } = own?.gauges ?? {};
  const whose = whomOf(instance, plan, { pods: "its pods", node: "the node itself", and: " and " });
  return `tried out, and nothing is enforced: on ${whose} ${drop} flows that pass would be dropped, ${pass} that are dropped would pass`;
}
