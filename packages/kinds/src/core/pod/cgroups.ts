import type { PodCgroup } from "@bpfleet/features";
import type { ResourceView } from "../../kind.ts";
import { cgroupAnnotation } from "./schema.ts";

/** The pods of a namespace that name a cgroup, by name, and the names of those that do not. */
export function findPodCgroups(
  view: ResourceView,
  namespace: string,
): { readonly pods: readonly PodCgroup[]; readonly without: readonly string[] } {
  const pods: PodCgroup[] = [];
  const without: string[] = [];
  for (const { object, ref } of view
    .list("", "Pod", namespace)
    .toSorted((a, b) => (a.ref.name < b.ref.name ? -1 : 1))) {
    const path = object.metadata.annotations?.[cgroupAnnotation];
    if (path === undefined) without.push(ref.name);
    else pods.push({ pod: ref.name, namespace, path });
  }
  return { pods, without };
}
