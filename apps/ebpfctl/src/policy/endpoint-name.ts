import type { PolicyEndpoint } from "@bpfleet/features";

/** `namespace/name` of a pod, or `node name` of the node itself. */
export function endpointName({ isNode, namespace, pod }: Pick<PolicyEndpoint, "isNode" | "namespace" | "pod">): string {
  return isNode === true ? `node ${pod}` : `${namespace}/${pod}`;
}
