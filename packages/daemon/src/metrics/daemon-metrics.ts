import type { ObjectRef } from "@bpfleet/base";
import type { Feature, InstanceCounters, LostEvents } from "@bpfleet/features";
import type { HookCounters } from "../counters.ts";
import type { DaemonResults, DaemonVersion } from "../daemon.ts";
import type { Labels, MetricFamily, Sample } from "./exposition.ts";
import { firewallErrors, type FirewallReading } from "./firewalls.ts";
import type { Histogram } from "./histogram.ts";

/** What one scrape is made of; everything read just before. */
export interface Readings {
  readonly version: DaemonVersion;
  readonly nodeName: string;
  readonly results: DaemonResults;
  readonly counters: readonly InstanceCounters[];
  readonly hooks: readonly HookCounters[];
  readonly firewalls: readonly FirewallReading[];
  /** `undefined`: nothing that is in force reports. */
  readonly lostEvents: LostEvents | undefined;
  readonly applySeconds: Histogram;
  readonly healedTotal: number;
  readonly features: readonly Feature[];
  /** The process's own. */
  readonly residentBytes: number;
  readonly startedSeconds: number;
}

/**
 * Every metric of a node. The `ebpf_*` names are those that FOS1's controllers had; where its `program`
 * label is not enough to tell series apart, `namespace` stands beside it.
 */
export function metricFamilies(readings: Readings): MetricFamily[] {
  return [
    ...fos1Families(readings.counters),
    ...podConfigFamilies(readings),
    ...objectFamilies(readings),
    ...hookFamilies(readings.hooks),
    ...ownFamilies(readings),
  ];
}

function fos1Families(counters: readonly InstanceCounters[]): MetricFamily[] {
  const sum = (name: string): number => counters.reduce((total, { gauges }) => total + Number(gauges[name] ?? 0), 0);
  const perObject = (gauge: string, label: string): Sample[] => {
    const totals = new Map<string, { labels: Labels; value: number }>();
    for (const { owner, gauges } of counters) {
      const value = gauges[gauge];
      if (value === undefined) continue;
      const key = `${owner.namespace}/${owner.name}`;
      const before = totals.get(key)?.value ?? 0;
      totals.set(key, { labels: { [label]: owner.name, namespace: owner.namespace }, value: before + Number(value) });
    }
    return [...totals.values()];
  };
  const maps = perObject("map_entries", "map_name");
  return [
    gauge("ebpf_xdp_blacklist_entries", "Addresses and prefixes on the blacklists of this node's programs.", [
      { labels: {}, value: sum("blacklist_entries") },
    ]),
    gauge("ebpf_xdp_ratelimit_entries", "Source addresses whose rate is being limited.", [
      { labels: {}, value: sum("ratelimit_entries") },
    ]),
    gauge("ebpf_flow_count", "Flows that a program tracks.", perObject("flow_count", "program")),
    gauge("ebpf_ipv6_flow_count", "Those of them that are IPv6.", perObject("ipv6_flow_count", "program")),
    gauge("ebpf_map_entries", "Entries in a declared map.", maps),
  ];
}

const firewallStats = ["allowed", "blocked", "tcp_packets", "udp_packets"] as const;

/** Of pods; those that several objects select are told once. */
function podConfigFamilies({ counters, firewalls }: Pick<Readings, "counters" | "firewalls">): MetricFamily[] {
  const pods = new Map<string, { readonly labels: Labels; readonly gauges: InstanceCounters["gauges"] }>();
  for (const { labels, gauges } of counters) {
    const { pod: pod_name, pod_namespace: namespace } = labels ?? {};
    if (pod_name === undefined || namespace === undefined || gauges["l4_allowed"] === undefined) continue;
    pods.set(`${namespace}/${pod_name}`, { labels: { namespace, pod_name }, gauges });
  }
  const all = [...pods.values()];
  const stats = all.flatMap(({ labels, gauges }) =>
    firewallStats.map((stat_type) => ({
      labels: { ...labels, stat_type },
      value: BigInt(Math.trunc(Number(gauges[`l4_${stat_type}`] ?? 0))),
    })),
  );
  const program = { program_type: "l4_firewall" };
  const attached = firewalls.map(({ labels, isAttached }) => ({
    labels: { ...labels, ...program },
    value: isAttached ? 1 : 0,
  }));
  const errors = firewalls.flatMap((firewall) =>
    firewallErrors.map((error_type) => ({
      labels: { ...firewall.labels, ...program, error_type },
      value: firewall.errors[error_type],
    })),
  );
  return [
    counter(
      "podconfigmap_controller_ebpf_l4_firewall_total",
      "Packets to a pod that its firewall let pass or blocked, and how many were of TCP and of UDP.",
      stats,
    ),
    gauge("podconfigmap_controller_ebpf_attached_programs", "Programs that are attached for a pod.", attached),
    counter(
      "podconfigmap_controller_ebpf_program_errors_total",
      "Attempts that failed to put a program of a pod in force.",
      errors,
    ),
  ];
}

const fos1Gauges = new Set(["blacklist_entries", "ratelimit_entries", "flow_count", "ipv6_flow_count", "map_entries"]);

function objectFamilies({ counters, features }: Readings): MetricFamily[] {
  const passReasons = new Set(features.flatMap((feature) => feature.passReasons));
  const perReason = (field: "packets" | "bytes"): Sample[] =>
    addUp(
      counters.flatMap(({ owner, labels, reasons }) =>
        Object.entries(reasons).map(([reason, counter]) => ({
          labels: { ...ownerLabels(owner), ...labels, reason, verdict: passReasons.has(reason) ? "pass" : "drop" },
          value: counter[field],
        })),
      ),
    );
  const perRule = (field: "packets" | "bytes"): Sample[] =>
    addUp(
      counters.flatMap(({ owner, labels, rules }) =>
        rules.map(({ rule, counter }) => ({
          labels: { ...ownerLabels(owner), ...labels, rule: rule.text, path: rule.origin.path },
          value: counter[field],
        })),
      ),
    );
  const lastHits = new Map<string, Sample>();
  for (const { owner, labels, rules } of counters)
    for (const { rule, lastHitMs } of rules) {
      if (lastHitMs === undefined) continue;
      const own = { ...ownerLabels(owner), ...labels, rule: rule.text, path: rule.origin.path };
      const key = JSON.stringify(own);
      const value = Math.max(lastHitMs / 1000, Number(lastHits.get(key)?.value ?? 0));
      lastHits.set(key, { labels: own, value });
    }
  const others = addUp(
    counters.flatMap(({ owner, labels, gauges }) =>
      Object.entries(gauges)
        .filter(([name]) => !fos1Gauges.has(name) && !name.startsWith("l4_"))
        .map(([name, value]) => ({
          labels: { ...ownerLabels(owner), ...labels, what: name },
          value: BigInt(Math.trunc(Number(value))),
        })),
    ),
  );
  return [
    counter("bpfleet_packets_total", "Packets by the reason of their verdict.", perReason("packets")),
    counter("bpfleet_bytes_total", "Bytes of packets by the reason of their verdict.", perReason("bytes")),
    counter("bpfleet_rule_packets_total", "Packets by the rule that decided.", perRule("packets")),
    counter("bpfleet_rule_bytes_total", "Bytes of packets by the rule that decided.", perRule("bytes")),
    gauge(
      "bpfleet_rule_last_hit_timestamp_seconds",
      "When a rule of a policy last was seen to have decided, to within ten seconds; those that never did are left out.",
      lastHits.values(),
    ),
    gauge("bpfleet_object_state", "Further numbers of an object, named by `what`.", others),
  ];
}

function hookFamilies(hooks: readonly HookCounters[]): MetricFamily[] {
  const samples = hooks.flatMap(({ hook, members }) =>
    members.flatMap(({ program, counts }) =>
      Object.entries(counts.verdicts).map(([verdict, value]) => ({ labels: { hook, program, verdict }, value })),
    ),
  );
  return [counter("bpfleet_program_verdicts_total", "Verdicts of each program on a hook that several share.", samples)];
}

function ownFamilies({
  version,
  nodeName,
  results,
  lostEvents,
  applySeconds,
  healedTotal,
  residentBytes,
  startedSeconds,
}: Readings): MetricFamily[] {
  const states = new Map<string, Sample>();
  for (const { item, state } of results.items) {
    const key = `${item} ${state}`;
    states.set(key, { labels: { item, state }, value: Number(states.get(key)?.value ?? 0) + 1 });
  }
  return [
    gauge("bpfleet_build_info", "What runs on this node; always 1.", [
      {
        labels: { node: nodeName, version: version.version, kernel: version.kernel, libbpf: version.libbpf },
        value: 1,
      },
    ]),
    gauge("bpfleet_paused", "1 while everything is detached by `ebpfctl pause`.", [
      { labels: {}, value: results.isPaused ? 1 : 0 },
    ]),
    gauge(
      "bpfleet_plan_kept",
      "0 while what is in force is not on the disk, where the next boot looks for it: the disk is full, or cannot be written.",
      [{ labels: {}, value: results.notKept === undefined ? 1 : 0 }],
    ),
    gauge("bpfleet_plan_items", "Maps, programs and hooks of the plan by what became of them.", states.values()),
    counter("bpfleet_healed_total", "Changes by others that were put right.", [{ labels: {}, value: healedTotal }]),
    counter(
      "bpfleet_events_lost_total",
      "Verdicts for `ebpfctl trace`, and flows that rules log, that were not told since nobody read the ring of events in time.",
      lostEvents === undefined
        ? []
        : [
            { labels: { what: "verdict" }, value: lostEvents.verdicts },
            { labels: { what: "flow" }, value: lostEvents.flows },
          ],
    ),
    {
      name: "bpfleet_apply_seconds",
      type: "histogram",
      help: "From a changed plan to its being in force.",
      samples: applySeconds.samples(),
    },
    gauge("process_resident_memory_bytes", "Resident memory size in bytes.", [{ labels: {}, value: residentBytes }]),
    gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", [
      { labels: {}, value: startedSeconds },
    ]),
  ];
}

/** One series for equal labels: an object may have several instances on a node. */
function addUp(samples: readonly (Sample & { readonly value: bigint })[]): Sample[] {
  const totals = new Map<string, Sample & { readonly value: bigint }>();
  for (const sample of samples) {
    const key = JSON.stringify(sample.labels);
    const before = totals.get(key);
    totals.set(key, before === undefined ? sample : { ...sample, value: before.value + sample.value });
  }
  return [...totals.values()];
}

function ownerLabels({ kind, namespace, name }: ObjectRef): Labels {
  return { kind, namespace, name };
}

function gauge(name: string, help: string, samples: Iterable<Sample>): MetricFamily {
  return { name, type: "gauge", help, samples };
}

function counter(name: string, help: string, samples: Iterable<Sample>): MetricFamily {
  return { name, type: "counter", help, samples };
}
