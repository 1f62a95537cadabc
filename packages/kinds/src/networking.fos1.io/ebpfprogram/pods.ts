import type { InstanceCounters, PodCgroup, PodData } from "@bpfleet/features";
import type { HookSpec, NodePlan } from "@bpfleet/kernel";
import type { EBPFProgramStatus } from "./schema.ts";

type PodMetrics = NonNullable<NonNullable<EBPFProgramStatus["metrics"]>["pods"]>[number];
type Totals = Record<"received" | "sent" | "dropped", [bigint, bigint] | undefined>;

/** The pods that a hook on a cgroup is there for, as kubectl names them: `pod/web`. */
export function podNames({ point, members }: HookSpec, plan: NodePlan): readonly string[] {
  if (point.hook !== "cgroup") return [];
  const programs = new Set(members.map((member) => member.program));
  const instances = plan.instances.filter((instance) => instance.programs.some((key) => programs.has(key)));
  const pods = instances.flatMap(({ data }) => (data as Partial<PodData>).pods ?? []);
  return pods.filter(({ path }) => path === point.path).map(({ pod }: PodCgroup) => `pod/${pod}`);
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
