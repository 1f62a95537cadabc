import type { PolicyData } from "@bpfleet/features";
import { sameRef } from "@bpfleet/base";
import type { Outcome, Parsed } from "../../kind.ts";
import { appliedAspects } from "../../policy/applied.ts";
import { stampStatus } from "../../status/conditions.ts";
import type { EBPFContainerPolicy, EBPFContainerPolicyStatus } from "./schema.ts";

export const containerPolicyConditions = {
  Ready: "The pods are limited and controlled as declared; else what keeps them from that.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
  Applied: "It is in force for every pod that it means.",
};

const mostPods = 256;

/** What became of an EBPFContainerPolicy on this node. */
export function containerPolicyStatus(
  parsed: Parsed<EBPFContainerPolicy>,
  outcome: Outcome,
): EBPFContainerPolicyStatus {
  const aspects = appliedAspects(parsed.ref, outcome, "it decides for no pod of this node");
  const isApplied = aspects.some(({ type, status }) => type === "Applied" && status === "True");
  const appliedTo = isApplied ? podsOf(parsed, outcome) : [];
  return stampStatus(appliedTo.length === 0 ? {} : { appliedTo }, aspects, parsed.object.metadata.generation, outcome);
}

function podsOf(
  { ref }: Parsed<EBPFContainerPolicy>,
  { plan }: Outcome,
): NonNullable<EBPFContainerPolicyStatus["appliedTo"]> {
  return plan.instances
    .filter(({ feature, owner }) => feature === "policy" && sameRef(owner, ref))
    .flatMap(({ data }) => (data as PolicyData).endpoints)
    .map(({ pod, namespace }) => ({ podName: pod, namespace }))
    .toSorted((a, b) => (a.podName < b.podName ? -1 : 1))
    .slice(0, mostPods);
}
