import { definePolicy } from "../rule/define-policy.ts";
import { access } from "./access.ts";
import { columns } from "./columns.ts";
import { specSchema, specsSchema, statusSchema } from "./schema.ts";

export const ciliumNetworkPolicy = definePolicy({
  kind: "CiliumNetworkPolicy",
  plural: "ciliumnetworkpolicies",
  singular: "ciliumnetworkpolicy",
  shortNames: ["cnp", "ciliumnp"],
  scope: "Namespaced",
  description: "Who may talk to the pods of a namespace, and to whom they may talk.",
  columns,
  access,
  specSchema,
  specsSchema,
  statusSchema,
});
