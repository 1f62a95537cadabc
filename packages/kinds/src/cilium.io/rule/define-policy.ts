import { defineKind, type DefinedKind, type KindSource } from "../../define-kind.ts";
import { checkPolicyAnnotations } from "../../policy/check-annotations.ts";
import { lowerPolicy } from "../../policy/lower-policy.ts";
import { aggregatePolicy } from "../../policy/policy-aggregate.ts";
import { policyConditions, policyStatus } from "../../policy/policy-status.ts";
import { unknownFieldIn } from "../../policy/unknown-fields.ts";
import type { IssueList } from "../../schema/admit.ts";
import { isRecord } from "../../yaml/read-yaml.ts";
import { checkRule, policyCode } from "./check-rule.ts";
import { closeCiliumPolicy } from "./close.ts";
import { readCiliumPolicy, type CiliumPolicyObject } from "./read-rule.ts";

type PolicyParts =
  | "kind"
  | "plural"
  | "singular"
  | "shortNames"
  | "scope"
  | "description"
  | "columns"
  | "access"
  | "specSchema"
  | "specsSchema"
  | "statusSchema";

const rules = ["ingress", "ingressDeny", "egress", "egressDeny"];

/** Makes a kind of Cilium's whose objects hold rules. */
export function definePolicy(
  parts: Pick<KindSource<CiliumPolicyObject>, PolicyParts>,
): DefinedKind<CiliumPolicyObject> {
  return defineKind<CiliumPolicyObject>({
    ...parts,
    group: "cilium.io",
    version: "v2",
    conditions: policyConditions,
    isOurs: true,
    crdOwner: "Cilium",
    speaksOfPeers: true,
    unknownField: unknownFieldIn({ rules, harmless: ["labels", "log", "options"] }),
    check: (object, found) => checkPolicy(object, parts.scope, found),
    lower: (parsed) => lowerPolicy(parsed, readCiliumPolicy(parsed)),
    closeRefused: closeCiliumPolicy,
    status: policyStatus,
    aggregate: aggregatePolicy,
  });
}

function checkPolicy(object: CiliumPolicyObject, scope: "Namespaced" | "Cluster", found: IssueList): void {
  const namespace = scope === "Cluster" ? undefined : (object.metadata.namespace ?? "default");
  checkPolicyAnnotations(object.metadata, found);
  if (isRecord(object.spec)) checkRule(object.spec, "/spec", { namespace }, found);
  if (!Array.isArray(object.specs)) return;
  if (object.spec === undefined && object.specs.length === 0)
    found.error("/specs", policyCode, "must have at least one item where there is no spec");
  for (const [index, rule] of object.specs.entries())
    if (isRecord(rule)) checkRule(rule, `/specs/${index}`, { namespace }, found);
}
