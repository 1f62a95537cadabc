import type { DefinedKind } from "@bpfleet/kinds";
import type { Manifest } from "./manifest.ts";
import { bpfdNamespace, partOf } from "./names.ts";
import {
  bpfdConfig,
  operatorDeployment,
  operatorDisruptionBudget,
  operatorService,
  type OperatorImages,
} from "./operator-deployment.ts";
import { ownNodePolicy } from "./own-node-policy.ts";
import { agentClusterRole, installedRoles, userRoles } from "./roles.ts";

/** File → what it holds: all that is applied beside the CRDs. The operator makes the rest. */
export function baseManifests(
  kinds: readonly DefinedKind[],
  images: OperatorImages,
): Readonly<Record<string, readonly Manifest[]>> {
  return {
    "namespace.yaml": [{ apiVersion: "v1", kind: "Namespace", metadata: { name: bpfdNamespace, labels: partOf } }],
    "roles.yaml": [...installedRoles(kinds), ...agentClusterRole(kinds)],
    "own-node.yaml": ownNodePolicy(kinds),
    "user-roles.yaml": userRoles(kinds),
    "config.yaml": [bpfdConfig(images)],
    "operator.yaml": [operatorDeployment(images), operatorService(), operatorDisruptionBudget()],
  };
}
