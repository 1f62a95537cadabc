import type { PolicyData } from "@bpfleet/features";
import { sameRef } from "@bpfleet/base";
import type { Outcome, Parsed } from "../../kind.ts";
import { appliedAspects } from "../../policy/applied.ts";
import { selectedEndpoints } from "../../policy/selected-endpoints.ts";
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
  const metrics = metricsOf(outcome);
  return stampStatus(
    { ...(appliedTo.length > 0 && { appliedTo }), ...(metrics !== undefined && { metrics }) },
    aspects,
    parsed.object.metadata.generation,
    outcome,
  );
}

function isOfPolicy(data: unknown): data is PolicyData {
  return (data as PolicyData).about === "policy";
}

/** Of its pods together. */
function metricsOf({ counters }: Outcome): EBPFContainerPolicyStatus["metrics"] {
  const ofPods = counters.filter(
    ({ labels, gauges }) => labels?.["pod"] !== undefined && ("bytes_in" in gauges || "connections" in gauges),
  );
  if (ofPods.length === 0) return undefined;
  const sum = (gauge: string): number => ofPods.reduce((total, { gauges }) => total + Number(gauges[gauge] ?? 0), 0);
  return {
    bytesIn: sum("bytes_in"),
    bytesOut: sum("bytes_out"),
    ...(ofPods.some(({ gauges }) => "connections" in gauges) && { connections: sum("connections") }),
    blocked: sum("blocked"),
  };
}

function podsOf(
  { ref }: Parsed<EBPFContainerPolicy>,
  { plan }: Outcome,
): NonNullable<EBPFContainerPolicyStatus["appliedTo"]> {
  return plan.instances
    .filter(({ feature, owner }) => feature === "policy" && sameRef(owner, ref))
    .flatMap((instance) => (isOfPolicy(instance.data) ? selectedEndpoints(instance, plan) : []))
    .map(({ pod, namespace }) => ({ podName: pod, namespace }))
    .toSorted((a, b) => (a.podName < b.podName ? -1 : 1))
    .slice(0, mostPods);
}
