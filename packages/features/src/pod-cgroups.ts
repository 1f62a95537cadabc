import type { Origin } from "@bpfleet/base";
import type { NodeFacts, PlanProblem } from "@bpfleet/kernel";
import type { PodCgroup } from "./filter/intent.ts";

/** The pods of an intent whose cgroup a program can be attached to now, and why not for the others. */
export interface PodPlaces {
  readonly ready: readonly PodCgroup[];
  readonly problems: readonly PlanProblem[];
}

export function placePods(pods: readonly PodCgroup[], origin: Origin, facts: NodeFacts): PodPlaces {
  const { cgroup2 } = facts.kernel;
  if (!cgroup2.has) {
    const message = `programs on pods need cgroup v2, which this node does not have: ${cgroup2.why}; boot with systemd.unified_cgroup_hierarchy=1`;
    return { ready: [], problems: [{ origin, reason: "CgroupV2Missing", message, severity: "refused" }] };
  }
  const ready = pods.filter(({ path }) => facts.cgroups[path] !== undefined);
  const problems = pods
    .filter(({ path }) => facts.cgroups[path] === undefined)
    .map(({ namespace, pod, path }): PlanProblem => ({
      origin,
      reason: "CgroupNotFound",
      message: `pod ${namespace}/${pod}: cgroup ${path} does not exist yet; it is attached as soon as it does`,
      severity: "waiting",
    }));
  return { ready, problems };
}
