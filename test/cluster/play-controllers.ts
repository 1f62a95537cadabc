import { isApiError, type AnyObject } from "@bpfleet/kube";
import type { FleetCluster } from "./fleet-cluster.ts";

export const theSet = {
  group: "apps",
  version: "v1",
  plural: "daemonsets",
  namespace: "kube-system",
  name: "bpfd-daemon",
} as const;

export const noNodes = { desiredNumberScheduled: 0, currentNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0 };
const bothReady = { replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 };

/** What the controllers of the cluster would say of a workload without any node. */
export async function rollOut(
  { admin }: FleetCluster,
  plural: "deployments" | "daemonsets",
  name: string,
  status: object,
): Promise<void> {
  const place = { ...theSet, plural, name };
  const found = await admin.find<AnyObject>(place);
  if (found === undefined) return;
  const said = { observedGeneration: found.metadata.generation, ...status };
  const saying = admin.patch(place, { status: said }, { type: "merge", subresource: "status" });
  await saying.catch((error: unknown) => {
    // It went meanwhile.
    if (!isApiError(error) || !error.isNotFound) throw error;
  });
}

/** Of operator and DaemonSet, as they are now. */
export async function rollOutBoth(cluster: FleetCluster): Promise<void> {
  await rollOut(cluster, "deployments", "podconfigmap-controller", bothReady);
  await rollOut(cluster, "daemonsets", theSet.name, noNodes);
}

/** Lets go of a namespace that is deleted, as its controller does. */
export function finalizeNamespace({ server }: FleetCluster, name: string): void {
  const text = { apiVersion: "v1", kind: "Namespace", metadata: { name }, spec: { finalizers: [] } };
  server.kubectl(["replace", "--raw", `/api/v1/namespaces/${name}/finalize`, "-f", "-"], JSON.stringify(text));
}
