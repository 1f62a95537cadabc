import { defineKind } from "../../define-kind.ts";
import { unknownFieldIn } from "../../policy/unknown-fields.ts";
import { networkPolicyAccess } from "./access.ts";
import { checkNetworkPolicy } from "./check.ts";
import { closeNetworkPolicy } from "./close.ts";
import { networkPolicyColumns } from "./columns.ts";
import { lowerNetworkPolicy } from "./lower.ts";
import { specSchema, statusSchema } from "./schema.ts";
import type { EBPFNetworkPolicy } from "./schema.ts";
import { networkPolicyConditions, networkPolicyStatus } from "./status.ts";

export const ebpfNetworkPolicy = defineKind<EBPFNetworkPolicy>({
  group: "networking.fos1.io",
  version: "v1alpha1",
  kind: "EBPFNetworkPolicy",
  plural: "ebpfnetworkpolicies",
  singular: "ebpfnetworkpolicy",
  shortNames: ["enpol"],
  scope: "Namespaced",
  description: "Whom pods or nodes may talk to. Deprecated: use CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy.",
  deprecation: "use CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy",
  columns: networkPolicyColumns,
  access: networkPolicyAccess,
  conditions: networkPolicyConditions,
  specSchema,
  statusSchema,
  isOurs: true,
  unknownField: unknownFieldIn({ rules: ["ingress", "egress"], harmless: ["nat"] }),
  check: checkNetworkPolicy,
  speaksOfPeers: true,
  lower: lowerNetworkPolicy,
  closeRefused: closeNetworkPolicy,
  status: networkPolicyStatus,
});
