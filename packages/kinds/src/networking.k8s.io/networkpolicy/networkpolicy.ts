import { defineKind } from "../../define-kind.ts";
import { lowerPolicy } from "../../policy/lower-policy.ts";
import { policyConditions, policyStatus } from "../../policy/policy-status.ts";
import { unknownFieldIn } from "../../policy/unknown-fields.ts";
import { access } from "./access.ts";
import { checkNetworkPolicy } from "./check.ts";
import { closeNetworkPolicy } from "./close.ts";
import { columns } from "./columns.ts";
import { readNetworkPolicy } from "./read-network-policy.ts";
import { specSchema } from "./schema.ts";
import type { NetworkPolicy } from "./schema.ts";

/** Kubernetes defines it, and gives it no status: a cluster learns what became of it from events and nodes. */
export const networkPolicy = defineKind<NetworkPolicy>({
  group: "networking.k8s.io",
  version: "v1",
  kind: "NetworkPolicy",
  plural: "networkpolicies",
  singular: "networkpolicy",
  shortNames: ["netpol"],
  scope: "Namespaced",
  description: "Who may talk to the pods of a namespace, and to whom they may talk, as Kubernetes defines it.",
  columns,
  access,
  conditions: policyConditions,
  specSchema,
  isOurs: false,
  admitsSpec: true,
  speaksOfPeers: true,
  unknownField: unknownFieldIn({ rules: ["ingress", "egress"] }),
  check: checkNetworkPolicy,
  lower: (parsed) => lowerPolicy(parsed, readNetworkPolicy(parsed)),
  closeRefused: closeNetworkPolicy,
  status: policyStatus,
});
