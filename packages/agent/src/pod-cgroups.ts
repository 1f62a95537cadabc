import { cgroupAnnotation, type KubeObject } from "@bpfleet/kinds";

/** The cgroups that pods name, each once. */
export function cgroupsOf(objects: readonly KubeObject[]): readonly string[] {
  const paths = objects.map((object) => object.metadata.annotations?.[cgroupAnnotation]);
  return [...new Set(paths.filter((path) => path !== undefined))].toSorted();
}
