import { defineKind } from "../../define-kind.ts";
import type { UnknownFieldMeaning } from "../../schema/admit.ts";
import { containerPolicyAccess } from "./access.ts";
import { checkContainerPolicy } from "./check.ts";
import { closeContainerPolicy } from "./close.ts";
import { containerPolicyColumns } from "./columns.ts";
import { lowerContainerPolicy } from "./lower.ts";
import { specSchema, statusSchema } from "./schema.ts";
import type { EBPFContainerPolicy } from "./schema.ts";
import { containerPolicyConditions, containerPolicyStatus } from "./status.ts";

function meaningOfUnknown(path: string): UnknownFieldMeaning {
  if (/^\/spec\/networkControls\/(?:ingress|egress)Rules\/\d+\//.test(path)) return "closes-rule";
  return /^\/spec\/(?:selector|networkControls)\//.test(path) ? "refused" : "left-out";
}

export const ebpfContainerPolicy = defineKind<EBPFContainerPolicy>({
  group: "networking.fos1.io",
  version: "v1alpha1",
  kind: "EBPFContainerPolicy",
  plural: "ebpfcontainerpolicies",
  singular: "ebpfcontainerpolicy",
  shortNames: ["ecpol"],
  scope: "Namespaced",
  description: "What pods of one namespace may use, and whom they may talk to.",
  columns: containerPolicyColumns,
  access: containerPolicyAccess,
  conditions: containerPolicyConditions,
  specSchema,
  statusSchema,
  isOurs: true,
  unknownField: meaningOfUnknown,
  check: checkContainerPolicy,
  speaksOfPeers: true,
  lower: lowerContainerPolicy,
  closeRefused: closeContainerPolicy,
  status: containerPolicyStatus,
});
