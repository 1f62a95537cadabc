import { Type } from "../../schema/type.ts";
import type { KubeObject } from "../../kind.ts";

/** Names a network namespace (`ip netns`) as the pod's. */
export const netnsAnnotation = "bpfleet.io/netns";
/** Names the pod's cgroup: a path below the cgroup v2 mount, or an absolute one. */
export const cgroupAnnotation = "bpfleet.io/cgroup";

/** Kubernetes judges the rest of a pod. */
export const anySchema = Type.Unknown();

export interface Pod extends KubeObject {
  readonly kind: "Pod";
}
