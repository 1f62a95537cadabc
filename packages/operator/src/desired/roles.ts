import type { DefinedKind } from "@bpfleet/kinds";
import {
  agentAccess,
  allVerbs,
  indexAccess,
  isDeclared,
  operatorAccess,
  operatorBpfdAccess,
  operatorOwnAccess,
  perGroup,
  pullSecretAccess,
  readVerbs,
  rule,
  type AccessRule,
} from "./access.ts";
import type { Manifest } from "./manifest.ts";
import { bpfdNamespace, daemonSetName, madeByOperator, operatorName, ownNamespace, partOf } from "./names.ts";

const rbac = "rbac.authorization.k8s.io/v1";
const rbacGroup = "rbac.authorization.k8s.io";

/** The agents' account, their cluster role and its binding, which the operator keeps as they are here. */
export function agentIdentity(kinds: readonly DefinedKind[]): readonly Manifest[] {
  return [serviceAccount(daemonSetName), ...agentClusterRole(kinds)];
}

/** The part of it that is of the whole cluster. */
export function agentClusterRole(kinds: readonly DefinedKind[]): readonly Manifest[] {
  return [
    clusterRole(daemonSetName, agentAccess(kinds), madeByOperator),
    clusterRoleBinding(daemonSetName, daemonSetName, madeByOperator),
  ];
}

/** Accounts, and the roles of agent and operator that nobody restores but who installs. */
export function installedRoles(kinds: readonly DefinedKind[]): readonly Manifest[] {
  return [
    serviceAccount(daemonSetName),
    serviceAccount(operatorName),
    ...Object.entries(pullSecretAccess).flatMap(([namespace, rules]) => [
      role(`${daemonSetName}-pull-secrets`, namespace, rules),
      roleBinding(`${daemonSetName}-pull-secrets`, namespace, daemonSetName),
    ]),
    role(`${daemonSetName}-index`, ownNamespace, indexAccess),
    roleBinding(`${daemonSetName}-index`, ownNamespace, daemonSetName),
    clusterRole(operatorName, operatorAccess(kinds), partOf),
    clusterRoleBinding(operatorName, operatorName, partOf),
    role(operatorName, ownNamespace, operatorOwnAccess),
    roleBinding(operatorName, ownNamespace, operatorName),
    role(operatorName, bpfdNamespace, operatorBpfdAccess),
    roleBinding(operatorName, bpfdNamespace, operatorName),
  ];
}

/**
 * Roles for people, bound by nobody but an administrator. Those of bpfd have the two names that it had, in its code
 * and in its documents.
 */
export function userRoles(kinds: readonly DefinedKind[]): readonly Manifest[] {
  const bpfd = kinds.filter(({ group }) => group === "bpfd.io");
  const [configs, programs] = [bpfd.filter(isDeclared), bpfd.filter((kind) => !isDeclared(kind))];
  const plain = kinds.filter((kind) => isDeclared(kind) && kind.source.isOurs);
  const status = (plurals: readonly string[]): readonly string[] => plurals.map((plural) => `${plural}/status`);
  const edit = (of: readonly DefinedKind[]): readonly AccessRule[] => [
    ...perGroup(of, (plurals) => plurals, allVerbs),
    ...perGroup(of, status, ["get"]),
  ];
  const view = (of: readonly DefinedKind[]): readonly AccessRule[] => [
    ...perGroup(of, (plurals) => plurals, readVerbs),
    ...perGroup(of, status, ["get"]),
  ];
  const bothNames = (name: string, rules: readonly AccessRule[]): readonly Manifest[] => [
    clusterRole(`bpfd-${name}-role`, rules, partOf),
    clusterRole(`bpfd-${name}`, rules, partOf),
  ];
  const inventory = rule("bpfleet.io", ["addressslices", "nodestates"], readVerbs);
  return [
    ...bothNames("bpfprogramconfig-editor", edit(configs)),
    ...bothNames("bpfprogramconfig-viewer", view(configs)),
    ...bothNames("bpfprogram-editor", edit(programs)),
    ...bothNames("bpfprogram-viewer", view(programs)),
    clusterRole("bpfd-admin-role", edit(bpfd), partOf),
    clusterRole("bpfleet-editor", [...edit(plain), inventory], partOf),
    // Who may view a namespace may see what filters it. Editing is bound by hand: what one namespace declares can
    // reach the traffic of a whole node.
    clusterRole("bpfleet-viewer", [...view([...plain, ...programs]), inventory], {
      ...partOf,
      "rbac.authorization.k8s.io/aggregate-to-view": "true",
    }),
  ];
}

function serviceAccount(name: string): Manifest {
  return {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name, namespace: ownNamespace, labels: partOf },
    automountServiceAccountToken: name === operatorName,
  };
}

function clusterRole(name: string, rules: readonly AccessRule[], labels: Readonly<Record<string, string>>): Manifest {
  return { apiVersion: rbac, kind: "ClusterRole", metadata: { name, labels }, rules };
}

function clusterRoleBinding(name: string, account: string, labels: Readonly<Record<string, string>>): Manifest {
  return {
    apiVersion: rbac,
    kind: "ClusterRoleBinding",
    metadata: { name, labels },
    roleRef: { apiGroup: rbacGroup, kind: "ClusterRole", name },
    subjects: [{ kind: "ServiceAccount", name: account, namespace: ownNamespace }],
  };
}

function role(name: string, namespace: string, rules: readonly AccessRule[]): Manifest {
  return { apiVersion: rbac, kind: "Role", metadata: { name, namespace, labels: partOf }, rules };
}

function roleBinding(name: string, namespace: string, account: string): Manifest {
  return {
    apiVersion: rbac,
    kind: "RoleBinding",
    metadata: { name, namespace, labels: partOf },
    roleRef: { apiGroup: rbacGroup, kind: "Role", name },
    subjects: [{ kind: "ServiceAccount", name: account, namespace: ownNamespace }],
  };
}
