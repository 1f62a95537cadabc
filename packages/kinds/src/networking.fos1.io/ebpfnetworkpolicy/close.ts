import type { Closing, RefusedObject } from "../../kind.ts";
import {
  closeRefused,
  everythingDenied,
  fieldsOf,
  isAbsent,
  mayDeny,
  priorityOf,
  readSelector,
  type ClosedPart,
} from "../../policy/close-refused.ts";
import { labelsOf } from "../../policy/requirements.ts";
import { specSchema } from "./schema.ts";

/** Where it may deny anything, everything is denied. Policies that filter nothing, and those of nodes, deny nothing. */
export function closeNetworkPolicy(refused: RefusedObject): Closing {
  const spec = fieldsOf(refused.object, "spec");
  return closeRefused(refused, { tier: "fallback", priority: priorityOf(spec, 1000) }, [partOf(spec)]);
}

function partOf(spec: Readonly<Record<string, unknown>> | undefined): ClosedPart {
  if (spec === undefined) return { path: "/spec", where: [], ...everythingDenied };
  const isStrange = Object.keys(spec).some((field) => !Object.hasOwn(specSchema.properties, field));
  return {
    path: "/spec",
    where: whereOf(spec),
    ingress: isStrange || mayDeny(spec["ingress"]) ? "denied" : "open",
    egress: isStrange || mayDeny(spec["egress"]) ? "denied" : "open",
  };
}

function whereOf({ policyType, selector }: Readonly<Record<string, unknown>>): ClosedPart["where"] {
  if (["routing", "nat", "qos"].includes(policyType as string)) return undefined;
  const { podSelector, namespaceSelector, nodeSelector } = fieldsOf(selector) ?? {};
  if (!isAbsent(nodeSelector) && isAbsent(podSelector) && isAbsent(namespaceSelector)) return undefined;
  return [
    ...readSelector(podSelector, labelsOf("pod")).where,
    ...readSelector(namespaceSelector, labelsOf("namespace-label")).where,
  ];
}
