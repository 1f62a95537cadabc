import { annotatedEndpoint, cgroupAnnotation, isEndpointOf, type KubeObject } from "@bpfleet/kinds";
import type { EndpointWish, NodeFacts } from "@bpfleet/kernel";
import type { AcceptedObject } from "./compile.ts";

/** Knows which cgroup and which network namespace are a pod's own. */
export interface PodPlaces {
  /** cgroup v2 paths to look for. */
  candidates(objects: readonly AcceptedObject[]): readonly string[];
  /** Where to look for the network namespaces of the pods of this node. */
  endpoints(objects: readonly AcceptedObject[], nodeName: string): readonly EndpointWish[];
  /** Equal while `place` gives the same. */
  fingerprint(facts: NodeFacts): string;
  /** The objects with the cgroup of each pod as its annotation. */
  place(objects: readonly AcceptedObject[], facts: NodeFacts): readonly AcceptedObject[];
}

/** Without a cluster people write it on the pod. */
export const annotatedPods: PodPlaces = {
  candidates: (objects) => cgroupsOf(objects.map(({ parsed }) => parsed.object)),
  endpoints: (objects, nodeName) => podsOf(objects, nodeName).map(annotatedEndpoint),
  fingerprint: () => "",
  place: (objects) => objects,
};

/** Those that have an interface of their own on that node. */
export function podsOf(objects: readonly AcceptedObject[], nodeName: string): readonly KubeObject[] {
  return objects.flatMap(({ parsed: { ref, object } }) =>
    ref.group === "" && ref.kind === "Pod" && isEndpointOf(object, nodeName) ? [object] : [],
  );
}

/** The cgroups that pods name, each once. */
function cgroupsOf(objects: readonly KubeObject[]): readonly string[] {
  const paths = objects.map((object) => object.metadata.annotations?.[cgroupAnnotation]);
  return [...new Set(paths.filter((path) => path !== undefined))].toSorted();
}
