import type { ResourceType, WatchPolicy } from "@bpfleet/kube";

/** The collections that the operator works with, beside those of kinds. */
export const resources = {
  configMaps: { group: "", version: "v1", plural: "configmaps" },
  services: { group: "", version: "v1", plural: "services" },
  serviceAccounts: { group: "", version: "v1", plural: "serviceaccounts" },
  secrets: { group: "", version: "v1", plural: "secrets" },
  nodes: { group: "", version: "v1", plural: "nodes" },
  pods: { group: "", version: "v1", plural: "pods" },
  namespaces: { group: "", version: "v1", plural: "namespaces" },
  daemonSets: { group: "apps", version: "v1", plural: "daemonsets" },
  clusterRoles: { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterroles" },
  clusterRoleBindings: { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterrolebindings" },
  crds: { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" },
  webhooks: { group: "admissionregistration.k8s.io", version: "v1", plural: "validatingwebhookconfigurations" },
  nodeStates: { group: "bpfleet.io", version: "v1alpha1", plural: "nodestates" },
  addressSlices: { group: "bpfleet.io", version: "v1alpha1", plural: "addressslices" },
} as const satisfies Record<string, ResourceType>;

/** How the objects of a kind are followed, whose CRD may come later: nodes hear of the first of them from us. */
export const kindPolicy: Partial<WatchPolicy> = { longestUnknownWaitMs: 1000 };

const byKind: Readonly<Record<string, ResourceType>> = {
  ConfigMap: resources.configMaps,
  Service: resources.services,
  ServiceAccount: resources.serviceAccounts,
  DaemonSet: resources.daemonSets,
  ClusterRole: resources.clusterRoles,
  ClusterRoleBinding: resources.clusterRoleBindings,
  ValidatingWebhookConfiguration: resources.webhooks,
};

/** The collection of an object that the operator makes. */
export function resourceOf({ kind }: { readonly kind: string }): ResourceType {
  const type = byKind[kind];
  if (type === undefined) throw new RangeError(`find the collection of ${kind}: the operator makes none`);
  return type;
}
