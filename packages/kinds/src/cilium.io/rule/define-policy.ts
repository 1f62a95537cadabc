import { isRecord } from "@bpfleet/base";
import { defineKind, type DefinedKind, type KindSource } from "../../define-kind.ts";
import { checkPolicyAnnotations } from "../../policy/check-annotations.ts";
import { lowerPolicy } from "../../policy/lower-policy.ts";
import { aggregatePolicy } from "../../policy/policy-aggregate.ts";
import { policyConditions, policyStatus } from "../../policy/policy-status.ts";
import { unknownFieldIn } from "../../policy/unknown-fields.ts";
import type { IssueList } from "../../schema/admit.ts";
import { checkRule, learnsNames, policyCode } from "./check-rule.ts";
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

/** Rules are held against each other. */
const maxLearning = 32;

function checkPolicy(object: CiliumPolicyObject, within: "Namespaced" | "Cluster", found: IssueList): void {
  const namespace = within === "Cluster" ? undefined : (object.metadata.namespace ?? "default");
  checkPolicyAnnotations(object.metadata, found);
  const { spec, specs } = object;
  const several = Array.isArray(specs) ? specs.map((rule, index) => ({ rule, path: `/specs/${index}` })) : [];
  const rules = [{ rule: spec, path: "/spec" }, ...several].flatMap(({ rule, path }) =>
    isRecord(rule) ? [{ rule, path }] : [],
  );
  const learning = rules.filter(({ rule, path }) => found.isSound(path) && learnsNames(rule)).slice(0, maxLearning);
  const scope = { namespace, learning: learning.map(({ rule }) => rule) };
  for (const { rule, path } of rules) checkRule(rule, path, scope, found);
  if (spec === undefined && Array.isArray(specs) && specs.length === 0)
    found.error("/specs", policyCode, "must have at least one item where there is no spec");
}
