import type { AnyObject } from "@bpfleet/kube";
import { annotations } from "../desired/names.ts";

/** How long nodes are waited for that do not become clean, such as those that are gone. */
const usualPatienceMs = 300_000;

export interface UndeployRequest {
  readonly patienceMs: number;
  /** What came of it, once it is over. */
  readonly report: string | undefined;
}

/** What the ConfigMap asks: `bpfleet.io/undeploy: "true"`, or the patience as `120s` or `5m`. What means no in YAML is none. */
export function parseUndeploy(configMap: AnyObject): UndeployRequest | undefined {
  const { [annotations.undeploy]: asked, [annotations.undeployed]: report } = configMap.metadata.annotations ?? {};
  if (asked === undefined || /^(|false|no|off|0)$/i.test(asked.trim())) return undefined;
  const [, count, unit] = /^(\d{1,6})(s|m)$/.exec(asked) ?? [];
  const patienceMs = count === undefined ? usualPatienceMs : Number(count) * (unit === "m" ? 60_000 : 1000);
  return { patienceMs, report: report === "" ? undefined : report };
}

export interface Rollout {
  readonly wanted: number;
  readonly ready: number;
  readonly isDone: boolean;
}

interface WithCounts {
  readonly status?: {
    readonly observedGeneration?: number;
    readonly desiredNumberScheduled?: number;
    readonly updatedNumberScheduled?: number;
    readonly numberReady?: number;
  };
}

/** How far the pods of a DaemonSet are as it is now. */
export function rolloutOf(set: AnyObject): Rollout {
  const { status = {} } = set as WithCounts;
  const isSeen = (status.observedGeneration ?? 0) >= (set.metadata.generation ?? 1);
  const wanted = status.desiredNumberScheduled ?? 0;
  const updated = isSeen ? (status.updatedNumberScheduled ?? 0) : 0;
  const ready = Math.min(updated, status.numberReady ?? 0);
  return { wanted, ready, isDone: isSeen && ready >= wanted };
}

/** Nodes with a pod that is not Ready. */
export function uncleanNodes(pods: readonly AnyObject[]): readonly string[] {
  const typed = pods as unknown as readonly {
    readonly spec?: { readonly nodeName?: string };
    readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
    readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  }[];
  return typed
    .filter(({ status, metadata }) => {
      const isReady = status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true;
      return !isReady || metadata.annotations?.[annotations.undeploy] === undefined;
    })
    .flatMap(({ spec }) => spec?.nodeName ?? [])
    .toSorted();
}

/** `all 5 nodes are clean`, or which are not and what remains to be done there. */
export function renderUndeployed({ wanted, ready, isDone }: Rollout, unclean: readonly string[]): string {
  if (isDone) return wanted === 1 ? "the one node is clean" : `all ${wanted} nodes are clean`;
  const named = unclean.slice(0, 20).join(", ");
  const rest = unclean.length > 20 ? ` and ${unclean.length - 20} more` : "";
  return `${ready} of ${wanted} nodes are clean; not: ${named === "" ? "nodes without a pod" : named}${rest}; run \`ebpfctl cleanup\` there, or restart them, to detach what is left`;
}
