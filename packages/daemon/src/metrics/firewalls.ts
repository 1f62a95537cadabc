import { firewalledPods, type FirewalledPod } from "@bpfleet/features";
import type { Action, ActionOutcome, NodePlan } from "@bpfleet/kernel";
import type { DaemonResults } from "../daemon.ts";
import type { Labels } from "./exposition.ts";

export const firewallErrors = ["attach_failed", "load_failed", "map_failed"] as const;
export type FirewallError = (typeof firewallErrors)[number];

/** What a scrape tells of the firewall of a pod. */
export interface FirewallReading {
  readonly labels: Labels;
  readonly isAttached: boolean;
  readonly errors: Readonly<Record<FirewallError, bigint>>;
}

type Counts = Record<FirewallError, bigint>;

/** Counts what the firewalls of pods failed with; nothing is done while nothing fails and nobody asks. */
export class Firewalls {
  #counts = new Map<string, Counts>();

  /** Each attempt counts, for every pod that the program, its map or the hook serves. Pods that are gone are forgotten. */
  failed(plan: NodePlan, failures: readonly ActionOutcome[]): void {
    const counts = new Map<string, Counts>();
    for (const pod of firewalledPods(plan)) {
      const own = this.#of(pod);
      const maps = mapsUnder(pod, plan);
      for (const { action, error } of failures) {
        // Pods end so.
        const type = error?.code === "interface-missing" ? undefined : errorOf(action, pod, maps);
        if (type !== undefined) own[type]++;
      }
      if (firewallErrors.some((type) => own[type] > 0n)) counts.set(nameOf(pod), own);
    }
    this.#counts = counts;
  }

  read(plan: NodePlan, { items }: Pick<DaemonResults, "items">): readonly FirewallReading[] {
    const inForce = new Set(items.flatMap(({ item, key, state }) => (state === "in-force" ? [`${item} ${key}`] : [])));
    return firewalledPods(plan).map((pod) => {
      const { programs, hooks = [] } = pod.instance;
      const parts = [...programs.map((key) => `program ${key}`), ...hooks.map((key) => `hook ${key}`)];
      return {
        labels: { namespace: pod.namespace, pod_name: pod.pod },
        isAttached: parts.every((part) => inForce.has(part)),
        errors: this.#of(pod),
      };
    });
  }

  #of(pod: FirewalledPod): Counts {
    return { attach_failed: 0n, load_failed: 0n, map_failed: 0n, ...this.#counts.get(nameOf(pod)) };
  }
}

function nameOf({ namespace, pod }: FirewalledPod): string {
  return `${namespace}/${pod}`;
}

/** Of its programs, and those that these find in others. */
function mapsUnder({ instance }: FirewalledPod, { programs, maps }: NodePlan): ReadonlySet<string> {
  const own = new Set(
    programs.filter(({ key }) => instance.programs.includes(key)).flatMap((program) => Object.values(program.maps)),
  );
  const inner = maps
    .filter(({ key }) => own.has(key))
    .flatMap(({ contents }) => (contents.kind === "refers" ? contents.entries.map(({ map }) => map) : []));
  return new Set([...own, ...inner]);
}

function errorOf(action: Action, { instance }: FirewalledPod, maps: ReadonlySet<string>): FirewallError | undefined {
  switch (action.do) {
    case "set-hook":
      return instance.hooks?.includes(action.spec.key) === true ? "attach_failed" : undefined;
    case "load-program":
      return instance.programs.includes(action.spec.key) ? "load_failed" : undefined;
    case "create-map":
    case "write-map":
    case "put-reference":
      return maps.has(action.spec.key) ? "map_failed" : undefined;
    default:
      return undefined;
  }
}
