import { defineKind } from "../../define-kind.ts";
import { lowerNothing, notServed } from "../../not-served.ts";
import { natPolicyAccess } from "./access.ts";
import { checkNatPolicy } from "./check.ts";
import { natPolicyColumns } from "./columns.ts";
import { specSchema, statusSchema } from "./schema.ts";
import type { EBPFNATPolicy } from "./schema.ts";
import { natPolicyConditions, natPolicyStatus } from "./status.ts";

export const ebpfNatPolicy = defineKind<EBPFNATPolicy>({
  group: "networking.fos1.io",
  version: "v1alpha1",
  kind: "EBPFNATPolicy",
  plural: "ebpfnatpolicies",
  singular: "ebpfnatpolicy",
  shortNames: ["enat"],
  scope: "Namespaced",
  description: "Translates addresses and ports on a network interface: sharing one address, forwarding ports.",
  columns: natPolicyColumns,
  access: natPolicyAccess,
  conditions: natPolicyConditions,
  specSchema,
  statusSchema,
  isOurs: true,
  check: checkNatPolicy,
  lower: (parsed) => lowerNothing([notServed(parsed, "/spec", "no address is translated by it")]),
  status: natPolicyStatus,
});
