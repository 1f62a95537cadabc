import type { InstanceCounters, PodCgroup, PodData } from "@bpfleet/features";
import type { HookSpec, NodePlan } from "@bpfleet/kernel";
import type { EBPFProgramStatus } from "./schema.ts";

type PodMetrics = NonNullable<NonNullable<EBPFProgramStatus["metrics"]>["pods"]>[number];
type Totals = Record<"received" | "sent" | "dropped", [bigint, bigint] | undefined>;

/** The pods that a hook on a cgroup is there for, as kubectl names them: `pod/web`. */
export function podNames({ point, members }: HookSpec, plan: NodePlan): readonly string[] {
  if (point.hook !== "cgroup") return [];
  const programs = new Set(members.map((member) => member.program));
  const here = podsOf(plan).get(point.path) ?? [];
  return here.filter((each) => each.programs.some((key) => programs.has(key))).map(({ pod }) => `pod/${pod}`);
}

type PodOfPrograms = Pick<PodCgroup, "pod" | "path"> & { readonly programs: readonly string[] };

/** A plan never changes, and each of its hooks is asked for. */
const knownPods = new WeakMap<NodePlan, ReadonlyMap<string, readonly PodOfPrograms[]>>();

/** By the path of their cgroup. */
function podsOf(plan: NodePlan): ReadonlyMap<string, readonly PodOfPrograms[]> {
  const known = knownPods.get(plan);
  if (known !== undefined) return known;
  const pods = plan.instances.flatMap(({ data, programs }) =>
    ((data as Partial<PodData>).pods ?? []).map(({ pod, path }): PodOfPrograms => ({ pod, path, programs })),
  );
  const byPath = Map.groupBy(pods, ({ path }) => path);
  knownPods.set(plan, byPath);
  return byPath;
}

/** What was counted for each pod, by its name; without those that nothing is counted for alone. */
export function podMetrics(counters: readonly InstanceCounters[], passes: ReadonlySet<string>): readonly PodMetrics[] {
  const pods = Map.groupBy(counters, ({ labels }) => labels?.["pod"]);
  return [...pods]
    .flatMap(([pod, own]) => (pod === undefined ? [] : [metricsOf(pod, own, passes)]))
    .toSorted((a, b) => (a.pod < b.pod ? -1 : 1));
}

function metricsOf(pod: string, counters: readonly InstanceCounters[], passes: ReadonlySet<string>): PodMetrics {
  const totals: Totals = { received: undefined, sent: undefined, dropped: undefined };
  for (const { labels, reasons } of counters) {
    const direction = labels?.["direction"];
    if (direction === undefined) continue;
    for (const [reason, counter] of Object.entries(reasons)) {
      const what = !passes.has(reason) ? "dropped" : direction === "ingress" ? "received" : "sent";
      const [packets, bytes] = totals[what] ?? [0n, 0n];
      totals[what] = [packets + counter.packets, bytes + counter.bytes];
    }
  }
  const counted = Object.entries(totals).flatMap(([what, total]) =>
    total === undefined ? [] : [[what, { packets: Number(total[0]), bytes: Number(total[1]) }] as const],
  );
  return { pod, ...Object.fromEntries(counted), gauges: addGauges(counters) };
}

/** Of several instances: they add up. */
export function addGauges(counters: readonly InstanceCounters[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [name, value] of counters.flatMap(({ gauges }) => Object.entries(gauges))) {
    sums[name] = (sums[name] ?? 0) + Number(value);
  }
  return sums;
}
