import { fleetIndexPlace, isOfFacts, type DefinedKind } from "@bpfleet/kinds";
import {
  bpfdNamespace,
  configMapName,
  daemonServiceName,
  daemonSetName,
  lockName,
  nodeConfigMapName,
  secretNames,
  trialName,
  webhookName,
} from "./names.ts";

/** One rule of a Role. Fields that are empty are left out, as the API server does. */
export interface AccessRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

export const readVerbs = ["get", "list", "watch"] as const;
export const allVerbs = ["create", "delete", "get", "list", "patch", "update", "watch"] as const;
const applyVerbs = ["create", "get", "patch"] as const;
/** What is followed and only ever applied. */
const appliedVerbs = [...applyVerbs, "delete", "list", "watch"] as const;
/** What a dry run asks for: the API server has no right that is of dry runs alone. */
const trialVerbs = ["create", "patch"] as const;

/** Secret for pulling that the documents name; any other is to be in namespace `bpfd`. */
const documentedPullSecret = "regcred";

/** What the agent does: it reads what is declared, and writes what became of it on its node. */
export function agentAccess(kinds: readonly DefinedKind[]): readonly AccessRule[] {
  const declared = kinds.filter(isDeclared);
  const made = kinds.filter(isMade);
  return [
    rule("", ["namespaces", "nodes", "pods", "services"], readVerbs),
    rule("discovery.k8s.io", ["endpointslices"], readVerbs),
    ...perGroup(declared, (plurals) => plurals, readVerbs),
    // An owner reference that blocks the deletion of its owner needs it.
    ...perGroup(madeOwners(declared, made), (plurals) => plurals.map((plural) => `${plural}/finalizers`), ["update"]),
    ...perGroup(made, (plurals) => plurals, appliedVerbs),
    ...perGroup(made, (plurals) => plurals.map((plural) => `${plural}/status`), ["get", "patch"]),
    rule("bpfleet.io", ["nodestates"], applyVerbs),
    rule("bpfleet.io", ["nodestates/status"], ["get", "patch", "update"]),
    rule("bpfleet.io", ["addressslices"], readVerbs),
    ...events,
  ];
}

/** Beside its cluster role: the pull secrets, by name only, so that nobody's list of secrets is read. */
export const pullSecretAccess: Readonly<Record<string, readonly AccessRule[]>> = {
  [bpfdNamespace]: [rule("", ["secrets"], ["get"])],
  "kube-system": [rule("", ["secrets"], ["get"], [documentedPullSecret])],
};

/** Beside that: what the operator tells all agents. */
export const indexAccess: readonly AccessRule[] = [rule("", ["configmaps"], readVerbs, [fleetIndexPlace.name])];

/**
 * What the operator does in the whole cluster. It has all that the agent has, since nobody may restore a role that
 * grants more than he has himself.
 */
export function operatorAccess(kinds: readonly DefinedKind[]): readonly AccessRule[] {
  const declared = kinds.filter(isDeclared);
  const made = kinds.filter(isMade);
  const reported = declared.filter((kind) => kind.source.isOurs);
  const foreign = kinds.filter((kind) => kind.crd() !== undefined && isOfOthers(kind));
  return [
    ...agentAccess(kinds),
    ...perGroup(reported, (plurals) => plurals.map((plural) => `${plural}/status`), ["get", "patch"]),
    // For their finalizer.
    ...perGroup(madeOwners(declared, made), (plurals) => plurals, ["patch"]),
    rule("bpfleet.io", ["nodestates"], [...readVerbs, "delete"]),
    rule("bpfleet.io", ["addressslices"], appliedVerbs),
    rule("apps", ["daemonsets"], readVerbs, ["calico-node", "cilium"]),
    rule("rbac.authorization.k8s.io", ["clusterroles"], [...applyVerbs, "list", "update", "watch"], [daemonSetName]),
    rule(
      "rbac.authorization.k8s.io",
      ["clusterrolebindings"],
      [...applyVerbs, "delete", "list", "update", "watch"],
      [daemonSetName],
    ),
    rule("rbac.authorization.k8s.io", ["clusterrolebindings"], trialVerbs, [trialName(daemonSetName)]),
    ...(foreign.length === 0
      ? []
      : [
          rule(
            "apiextensions.k8s.io",
            ["customresourcedefinitions"],
            [...applyVerbs, "list", "watch"],
            foreign.map(crdName),
          ),
        ]),
    rule(
      "admissionregistration.k8s.io",
      ["validatingwebhookconfigurations"],
      [...applyVerbs, "delete", "list", "update", "watch"],
      [webhookName],
    ),
  ];
}

/** What the operator does in its own namespace. */
export const operatorOwnAccess: readonly AccessRule[] = [
  rule("apps", ["daemonsets"], allVerbs, [daemonSetName]),
  rule("", ["configmaps"], allVerbs, [configMapName, nodeConfigMapName, fleetIndexPlace.name]),
  rule("", ["services"], allVerbs, [daemonServiceName, webhookName]),
  rule("apps", ["daemonsets"], trialVerbs, [trialName(daemonSetName)]),
  rule("", ["configmaps"], trialVerbs, [trialName(nodeConfigMapName)]),
  rule("", ["services"], trialVerbs, [daemonServiceName, webhookName].map(trialName)),
  // The account that agents have, never its tokens: those are a subresource.
  rule("", ["serviceaccounts"], [...applyVerbs, "list", "watch"], [daemonSetName]),
  rule("", ["secrets"], appliedVerbs, Object.values(secretNames)),
  rule("coordination.k8s.io", ["leases"], ["get", "update"], [lockName]),
  // A lease is created before anybody has its name.
  rule("coordination.k8s.io", ["leases"], ["create"]),
];

/** The ConfigMap under bpfd's own namespace. */
export const operatorBpfdAccess: readonly AccessRule[] = [
  rule("", ["configmaps"], [...readVerbs, "patch"], [configMapName]),
];

const events: readonly AccessRule[] = [
  rule("", ["events"], ["create", "patch"]),
  rule("events.k8s.io", ["events"], ["create", "patch"]),
];

/** Kinds that people declare, and that nodes follow. */
export function isDeclared(kind: DefinedKind): boolean {
  return !isOfFacts(kind) && kind.madeFrom === undefined;
}

/** Kinds that are made of declared ones on each node. */
export function isMade(kind: DefinedKind): boolean {
  return kind.madeFrom !== undefined && !isOfFacts(kind);
}

/** Kinds of which the CRD is somebody else's where he is there. */
export function isOfOthers({ group }: Pick<DefinedKind, "group">): boolean {
  return group === "cilium.io" || group === "crd.projectcalico.org";
}

export function crdName({ plural, group }: Pick<DefinedKind, "plural" | "group">): string {
  return `${plural}.${group}`;
}

function madeOwners(declared: readonly DefinedKind[], made: readonly DefinedKind[]): readonly DefinedKind[] {
  return declared.filter(({ kind, group }) => made.some((each) => each.madeFrom === kind && each.group === group));
}

/** One rule for each group. */
export function perGroup(
  kinds: readonly DefinedKind[],
  resources: (plurals: readonly string[]) => readonly string[],
  verbs: readonly string[],
): readonly AccessRule[] {
  const groups = Map.groupBy(kinds, ({ group }) => group);
  return [...groups]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([group, members]) => rule(group, resources(members.map(({ plural }) => plural).toSorted()), verbs));
}

export function rule(
  group: string,
  resources: readonly string[],
  verbs: readonly string[],
  resourceNames?: readonly string[],
): AccessRule {
  return {
    apiGroups: [group],
    resources,
    verbs: verbs.toSorted(),
    ...(resourceNames === undefined ? {} : { resourceNames: resourceNames.toSorted() }),
  };
}
