import { definePolicy } from "../rule/define-policy.ts";
import { access } from "./access.ts";
import { columns } from "./columns.ts";
import { specSchema, specsSchema, statusSchema } from "./schema.ts";

export const ciliumClusterwideNetworkPolicy = definePolicy({
  kind: "CiliumClusterwideNetworkPolicy",
  plural: "ciliumclusterwidenetworkpolicies",
  singular: "ciliumclusterwidenetworkpolicy",
  shortNames: ["ccnp"],
  scope: "Cluster",
  description: "Who may talk to the pods of all namespaces or to the nodes themselves, and to whom they may talk.",
  columns,
  access,
  specSchema,
  specsSchema,
  statusSchema,
});
