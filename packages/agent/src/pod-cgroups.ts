import { cgroupAnnotation, type KubeObject } from "@bpfleet/kinds";
import type { NodeFacts } from "@bpfleet/kernel";
import type { AcceptedObject } from "./compile.ts";

/** Knows which cgroup is a pod's own. */
export interface PodPlaces {
  /** cgroup v2 paths to look for. */
  candidates(objects: readonly AcceptedObject[]): readonly string[];
  /** Equal while `place` gives the same. */
  fingerprint(facts: NodeFacts): string;
  /** The objects with the cgroup of each pod as its annotation. */
  place(objects: readonly AcceptedObject[], facts: NodeFacts): readonly AcceptedObject[];
}

/** Without a cluster people write it on the pod. */
export const annotatedPods: PodPlaces = {
  candidates: (objects) => cgroupsOf(objects.map(({ parsed }) => parsed.object)),
  fingerprint: () => "",
  place: (objects) => objects,
};

/** The cgroups that pods name, each once. */
export function cgroupsOf(objects: readonly KubeObject[]): readonly string[] {
  const paths = objects.map((object) => object.metadata.annotations?.[cgroupAnnotation]);
  return [...new Set(paths.filter((path) => path !== undefined))].toSorted();
}
