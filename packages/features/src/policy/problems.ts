import { refKey, renderRef, type ObjectRef } from "@bpfleet/base";
import { notSelectedReason, type NodeFacts, type PlanProblem } from "@bpfleet/kernel";
import type { CompiledPolicy } from "./compile/compile-policy.ts";
import type { LocalPod, Statement } from "./compile/statements.ts";
import type { PolicyIntent } from "./intent.ts";

/** How many pods are told by name. */
const told = 3;

/** Policies that are not served, and pods on which they are not in force. */
export function problemsOf(compiled: CompiledPolicy): readonly PlanProblem[] {
  const statementsOf = Map.groupBy(compiled.selection.statements, ({ intent }) => refKey(intent.policy.ref));
  const closed = compiled.closed.map((each) => closedProblem(each, statementsOf.get(refKey(each.ref)) ?? []));
  return [...closed, ...unplacedProblems(compiled), ...placedNotes(compiled)];
}

/** Those about nodes alone, none of which is this one. `problems`: what is told of them already. */
export function otherNodesNotes(
  { selection }: Pick<CompiledPolicy, "selection">,
  policies: readonly PolicyIntent[],
  { nodeName }: Pick<NodeFacts, "nodeName">,
  problems: readonly PlanProblem[],
): readonly PlanProblem[] {
  const told = new Set([
    ...selection.statements.map(({ intent }) => refKey(intent.policy.ref)),
    ...problems.filter(({ severity }) => severity === "refused").map(({ origin }) => refKey(origin.object)),
  ]);
  const message = `node ${nodeName} is not selected: its labels are not those of nodeSelector`;
  return policies.flatMap((intent): readonly PlanProblem[] => {
    const { origin, policy } = intent;
    if (told.has(refKey(policy.ref)) || policy.statements.length === 0 || !areOfNodes([intent])) return [];
    return [{ origin, reason: notSelectedReason, message, severity: "note" }];
  });
}

/** Pods of which not all traffic is judged. */
function placedNotes({ pods, selection }: CompiledPolicy): readonly PlanProblem[] {
  const notes = new Map<string, PlanProblem>();
  for (const { facts, statements, workload } of pods) {
    if (facts?.found !== true || facts.note === undefined) continue;
    for (const number of statements) {
      const object = selection.statements[number]?.intent.policy.ref;
      if (object === undefined || notes.has(refKey(object))) continue;
      const message = `${renderRef(workload.pod)}: ${facts.note}`;
      notes.set(refKey(object), { origin: { object, path: "" }, reason: "PartlyJudged", message, severity: "note" });
    }
  }
  return [...notes.values()];
}

/** A node is never closed by what is refused. */
function closedProblem({ ref, why }: CompiledPolicy["closed"][number], statements: readonly Statement[]): PlanProblem {
  const isTried = statements.some(({ intent }) => intent.policy.mode === "shadow");
  const ofNode = statements.filter(({ statement }) => statement.subject.selects === "nodes").length;
  const effects = [
    ...(ofNode > 0 && ofNode === statements.length
      ? []
      : [
          isTried
            ? "it is tried out as if nothing passed"
            : "nothing passes the pods that it selects, in the directions that it isolates",
        ]),
    ...(ofNode > 0 ? [`it ${isTried ? "is not tried out on" : "holds nothing back of"} the node itself`] : []),
  ];
  const message = `serve ${renderRef(ref)}: ${why}; until then ${effects.join(", and ")}`;
  return { origin: { object: ref, path: "" }, reason: "Refused", message, severity: "refused" };
}

function unplacedProblems({ pods, selection }: CompiledPolicy): readonly PlanProblem[] {
  const problems: PlanProblem[] = [];
  const byPolicy = new Map<string, { readonly ref: ObjectRef; readonly pods: LocalPod[] }>();
  for (const pod of pods) {
    if (pod.facts?.found) continue;
    for (const number of pod.statements) {
      const ref = selection.statements[number]?.intent.policy.ref;
      if (ref === undefined) continue;
      const entry = byPolicy.get(refKey(ref)) ?? { ref, pods: [] };
      byPolicy.set(refKey(ref), entry);
      if (entry.pods.at(-1) !== pod) entry.pods.push(pod);
    }
  }
  for (const { ref, pods: missing } of byPolicy.values()) {
    const isFinal = ({ facts }: LocalPod): boolean => facts?.found === false && facts.isFinal;
    for (const [severity, some] of [
      ["refused", missing.filter(isFinal)],
      ["waiting", missing.filter((pod) => !isFinal(pod))],
    ] as const) {
      if (some.length > 0) problems.push(unplacedProblem(ref, severity, some));
    }
  }
  return problems;
}

function unplacedProblem(ref: ObjectRef, severity: "refused" | "waiting", pods: readonly LocalPod[]): PlanProblem {
  const texts = pods.slice(0, told).map(({ workload, facts }) => {
    const why = facts?.found === false ? facts.why : "its interface is being looked for";
    return `${renderRef(workload.pod)}: ${why}`;
  });
  const more = pods.length > told ? `; and ${pods.length - told} more pods` : "";
  const message = `not in force on ${texts.join("; ")}${more}`;
  return { origin: { object: ref, path: "" }, reason: "EndpointNotFound", message, severity };
}

/** No pod is selected by any of them. What they are is looked at with care: it may be why compiling fails. */
export function areOfNodes(policies: readonly PolicyIntent[]): boolean {
  try {
    return policies.every(({ policy }) => policy.statements.every(({ subject }) => subject.selects === "nodes"));
  } catch {
    return false;
  }
}

/** Of every policy, when nothing can be served. */
export function forEachPolicy(
  policies: readonly PolicyIntent[],
  reason: string,
  message: string,
): readonly PlanProblem[] {
  return policies.map(({ origin }) => ({ origin, reason, message, severity: "refused" }));
}

/** What is only tried out decides nothing. */
export function shadowNote({ origin }: PolicyIntent): PlanProblem {
  const message =
    "tried out (bpfleet.io/mode: shadow): nothing is enforced; 'ebpfctl policy shadow' shows what would be dropped";
  return { origin, reason: "Shadow", message, severity: "note" };
}

export function shadowProblem({ origin }: PolicyIntent, why: string): PlanProblem {
  return {
    origin,
    reason: "NotServed",
    message: `bpfleet.io/mode: shadow: it is not tried out: ${why}`,
    severity: "refused",
  };
}
