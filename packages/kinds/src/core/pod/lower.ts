import type { WorkloadIntent } from "@bpfleet/features";
import type { EndpointWish, PodName } from "@bpfleet/kernel";
import type { KubeObject, Lowered, Parsed, ResourceView } from "../../kind.ts";
import { findNamespace, namespaceLabels } from "../namespace/labels.ts";
import { podFacts } from "./pod-facts.ts";
import { cgroupAnnotation, netnsAnnotation, type Pod } from "./schema.ts";

/** What policies know of the pod, and where its traffic is judged when it is this node's. */
export function lowerPod(parsed: Parsed<Pod>, view: ResourceView): Lowered {
  const { object, ref } = parsed;
  const facts = podFacts(object);
  if (facts.hasEnded) return { intents: [], problems: [] };
  const { isHostNetwork, addresses, serviceAccount, namedPorts } = facts;
  const intent: WorkloadIntent = {
    feature: "policy",
    about: "workload",
    isFact: true,
    origin: { object: ref, path: "", position: parsed.positionOf("") },
    pod: ref,
    labels: object.metadata.labels ?? {},
    namespaceLabels: namespaceLabels(view, ref.namespace),
    ...(findNamespace(view, ref.namespace) === undefined && { isNamespaceUnknown: true }),
    serviceAccount,
    namedPorts,
    addresses: isHostNetwork ? [] : addresses,
    isHostNetwork,
    endpoint: isEndpointOf(object, view.node.name) ? endpointKey(object) : undefined,
  };
  return { intents: [intent], problems: [] };
}

/** Whether the pod has an interface of its own on that node. Without a cluster annotations say so. */
export function isEndpointOf(pod: KubeObject, node: string): boolean {
  const { nodeName, isHostNetwork, hasEnded } = podFacts(pod);
  const { [netnsAnnotation]: netns, [cgroupAnnotation]: cgroup } = pod.metadata.annotations ?? {};
  const isHere = nodeName === undefined ? netns !== undefined || cgroup !== undefined : nodeName === node;
  return isHere && !isHostNetwork && !hasEnded;
}

/** Key of the pod in `NodeFacts.endpoints`. */
export function endpointKey({ metadata }: KubeObject): string {
  return metadata.uid ?? `${metadata.namespace ?? "default"}/${metadata.name}`;
}

/** By which network plug-ins name the pod. Of a static pod the kubelet knows another uid than the API server. */
export function podName({ metadata }: KubeObject): PodName {
  const { "kubernetes.io/config.mirror": mirror } = metadata.annotations ?? {};
  const uids = [metadata.uid, metadata.namespace === "kube-system" ? mirror : undefined];
  return {
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    uids: uids.filter((uid) => uid !== undefined),
  };
}

/** Where annotations say that the pod's interface is. In a cluster nobody may believe them. */
export function annotatedEndpoint(pod: KubeObject): EndpointWish {
  const { [netnsAnnotation]: netns, [cgroupAnnotation]: cgroup } = pod.metadata.annotations ?? {};
  return {
    key: endpointKey(pod),
    // Whoever makes such pods has never heard of the uid that the store gave.
    pod: { ...podName(pod), uids: [] },
    ...(netns !== undefined && { netns }),
    ...(cgroup !== undefined && { cgroups: [cgroup] }),
  };
}
