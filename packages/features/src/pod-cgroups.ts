import type { Origin } from "@bpfleet/base";
import type { NodeFacts, PlanProblem } from "@bpfleet/kernel";
import type { PodCgroup } from "./filter/intent.ts";

/** In the data of every instance that runs on pods. */
export interface PodData {
  /** The pods that it runs on. */
  readonly pods: readonly PodCgroup[];
  readonly direction?: "ingress" | "egress" | undefined;
}

/** Of an instance with one pod: its counters are that pod's. */
export function podLabels({ pods, direction }: PodData): Readonly<Record<string, string>> | undefined {
  const [only, ...others] = pods;
  if (only === undefined || others.length > 0) return undefined;
  return { pod_namespace: only.namespace, pod: only.pod, ...(direction && { direction }) };
}

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
      message: `pod ${namespace}/${pod}: cgroup ${path} does not exist below the cgroup v2 mount yet; the pod is attached as soon as it does`,
      severity: "waiting",
    }));
  return { ready, problems };
}
