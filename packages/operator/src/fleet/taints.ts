/** Of a node: keeps pods away that do not tolerate it; with NoExecute those too that run. */
export interface Taint {
  readonly key: string;
  readonly value?: string;
  readonly effect: string;
}

export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
}

const ofSchedule = ["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable", "network-unavailable"];

/**
 * What the DaemonSet controller lets pods on the host's network tolerate, whatever their template says.
 * https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#taints-and-tolerations
 */
const ofEveryDaemonSet: readonly Toleration[] = [
  ...["not-ready", "unreachable"].map((name) => ({ key: `node.kubernetes.io/${name}`, effect: "NoExecute" })),
  ...ofSchedule.map((name) => ({ key: `node.kubernetes.io/${name}`, effect: "NoSchedule" })),
].map((each) => ({ ...each, operator: "Exists" }));

/** Whether pods of a DaemonSet with these tolerations come to, and stay on, a node with the taint. */
export function isTolerated(taint: Taint, tolerations: readonly Toleration[]): boolean {
  if (taint.effect !== "NoSchedule" && taint.effect !== "NoExecute") return true;
  return [...tolerations, ...ofEveryDaemonSet].some(
    ({ key = "", operator = "Equal", value = "", effect = "" }) =>
      (effect === "" || effect === taint.effect) &&
      (key === "" || key === taint.key) &&
      (operator === "Exists" || (operator === "Equal" && value === (taint.value ?? ""))),
  );
}
