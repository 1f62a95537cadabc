import { cgroupId } from "@bpfleet/native";
import { findCgroup2, resolveCgroup, type Mount } from "./mounts.ts";

/** Ids, decimal, of those cgroups that exist. */
export function findCgroups(paths: readonly string[], mounts: readonly Mount[]): Record<string, string> {
  const mount = findCgroup2(mounts);
  const found: Record<string, string> = {};
  if (mount === undefined) return found;
  for (const path of new Set(paths)) {
    try {
      found[path] = cgroupId(resolveCgroup(mount, path)).toString();
    } catch {
      // It is not there (yet), or it is no cgroup: both are "does not exist" for a plan.
    }
  }
  return found;
}
