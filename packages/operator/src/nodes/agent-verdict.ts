/** What is known of the agent of a node that has reported once. */
export interface AgentSigns {
  readonly isNodeLost: boolean;
  /** Pods of the DaemonSet are made here; else that there is none says nothing. */
  readonly podsAreMade: boolean;
  /** The names of its pods, of which none has an agent that is ready; `undefined` where one has. */
  readonly unready: readonly string[] | undefined;
  /** Since when neither is it ready nor has it written. */
  readonly silentMs: number;
  readonly graceMs: number;
}

export type AgentVerdict =
  | { readonly is: "heard" | "unknown" }
  /** A pod that is replaced is away for a while. */
  | { readonly is: "awaited"; readonly ms: number }
  | { readonly is: "silent"; readonly reason: "NodeLost" | "AgentGone"; readonly message: string };

/** Whether what a node last told is still to be believed. */
export function judgeAgent({ isNodeLost, podsAreMade, unready, silentMs, graceMs }: AgentSigns): AgentVerdict {
  if (isNodeLost)
    return { is: "silent", reason: "NodeLost", message: "the node's kubelet is silent: nobody knows what is on it" };
  if (!podsAreMade) return { is: "unknown" };
  if (unready === undefined) return { is: "heard" };
  if (silentMs < graceMs) return { is: "awaited", ms: graceMs - silentMs };
  const message =
    unready.length === 0
      ? "no pod of bpfd-daemon is on the node: what is in force stays so, and nobody changes it or tells of it"
      : `the agent in pod ${unready.join(", ")} is not ready: kubectl -n kube-system describe pod says why`;
  return { is: "silent", reason: "AgentGone", message };
}
