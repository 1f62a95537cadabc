import type { FeatureInstance, NodePlan } from "@bpfleet/kernel";
import { feature, type PolicyData } from "./instances.ts";

/** A pod that the l4Firewall of some PodConfigMapConfig judges and counts. */
export interface FirewalledPod {
  readonly namespace: string;
  readonly pod: string;
  /** Programs and hooks are the same, whichever of several objects it is of. */
  readonly instance: FeatureInstance;
}

/** Each pod once. */
export function firewalledPods({ instances }: Pick<NodePlan, "instances">): readonly FirewalledPod[] {
  const pods = new Map<string, FirewalledPod>();
  for (const instance of instances) {
    if (instance.feature !== feature) continue;
    const { about, tier, isCounted, endpoints } = instance.data as PolicyData;
    const [endpoint] = endpoints;
    if (about !== "pod" || tier !== "l4" || isCounted !== true || endpoint === undefined) continue;
    const { namespace, pod } = endpoint;
    pods.set(`${namespace}/${pod}`, { namespace, pod, instance });
  }
  return [...pods.values()];
}
