import type { FeatureInstance, MapEntries } from "@bpfleet/kernel";
import { readReasons, readRules } from "../counters.ts";
import { accountSize, decodeAccount, type Account } from "./generated/policy.ts";
import type { InstanceCounters, MapReadings } from "../feature.ts";
import type { PolicyData } from "./instances.ts";
import { alwaysShown, reasonNames } from "./reasons.ts";
import { countForgotten, readNameEvents } from "./learnt.ts";
import { openConnections } from "./tend-connections.ts";
import { readTrials } from "./trials.ts";

export const counterRoles = [
  "reasons",
  "hits",
  "base",
  "flows4",
  "flows6",
  "accounts",
  "trials",
  "name_events",
  "learnt",
  "known_names",
  "connection_counts",
  "connections_aged",
] as const;

export function countPolicy(instance: FeatureInstance, readings: MapReadings): InstanceCounters {
  const { about, endpoints, tableLines = 0, addresses = 0 } = instance.data as PolicyData;
  const { owner } = instance;
  if (about === "host") return { owner, reasons: {}, rules: [], gauges: {} };
  if (about === "pod") return countPod(instance, readings);
  if (about === "policy") {
    const rules = readRules(instance.rules, readings.get("hits"), readings.get("base"));
    return {
      owner,
      reasons: {},
      rules,
      gauges: { endpoints: countSelected(instance), ...trialGauges(instance, readings) },
    };
  }
  return {
    owner,
    reasons: readReasons(readings.get("reasons"), reasonNames, alwaysShown),
    rules: [],
    gauges: {
      endpoints: endpoints.length,
      tracked_flows: (readings.get("flows4")?.count ?? 0) + (readings.get("flows6")?.count ?? 0),
      table_lines: tableLines,
      known_addresses: addresses,
      rule_count: instance.rules.length,
      ...nameGauges(readings),
    },
  };
}

function countSelected({ data }: FeatureInstance): number {
  const { endpoints, places = [] } = data as PolicyData;
  return places.reduce((sum, [first, last]) => sum + last - first + 1, endpoints.length);
}

/** Where rules are about names: what became of questions and answers, and what there was no room for. */
function nameGauges(readings: MapReadings): InstanceCounters["gauges"] {
  const [entries, learnt, known] = ["name_events", "learnt", "known_names"].map((role) => readings.get(role));
  if (entries === undefined || learnt === undefined || known === undefined) return {};
  const events = readNameEvents(entries);
  const { address_added: _addresses, name_added: _names, no_room: _room, ...told } = events;
  if (Object.values(told).every((count) => count === 0n)) return {};
  const forgotten = countForgotten(events, learnt, known);
  return {
    ...Object.fromEntries(Object.entries(told).map(([name, count]) => [`names_${name}`, count])),
    names_addresses: learnt.count,
    names_addresses_forgotten: forgotten.addresses,
    names_forgotten: forgotten.names,
  };
}

/** Of the pods of an object that is only tried out: flows whose verdict would be another one. */
function trialGauges({ data }: FeatureInstance, readings: MapReadings): InstanceCounters["gauges"] {
  const { mode, interfaces } = data as PolicyData;
  const entries = readings.get("trials");
  if (mode !== "shadow" || entries === undefined) return {};
  const own = new Set(interfaces);
  const sum = (would: "drop" | "pass"): number =>
    readTrials(entries).reduce(
      (total, trial) => (trial.would === would && own.has(trial.ifindex) ? total + Number(trial.flows) : total),
      0,
    );
  return { would_drop: sum("drop"), would_pass: sum("pass") };
}

/** What one pod received and sent, and what was refused; of ports besides, as PodConfigMapConfig's metrics have it. */
function countPod(instance: FeatureInstance, readings: MapReadings): InstanceCounters {
  const { endpoints, tier, mostConnections, isCounted = false } = instance.data as PolicyData;
  const [endpoint] = endpoints;
  const { owner } = instance;
  if (endpoint === undefined) return { owner, reasons: {}, rules: [], gauges: {} };
  const { ifindex, pod, namespace } = endpoint;
  const account = readAccount(readings.get("accounts"), ifindex);
  const ofPorts = {
    l4_allowed: account.receivedPackets,
    l4_blocked: account.blockedPackets,
    l4_tcp_packets: account.tcpPackets,
    l4_udp_packets: account.udpPackets,
  };
  const ofPod = {
    bytes_in: account.receivedBytes,
    bytes_out: account.sentBytes,
    packets_in: account.receivedPackets,
    packets_out: account.sentPackets,
    blocked: account.refusedPackets,
  };
  const gauges = {
    ...(isCounted && (tier === "l4" ? ofPorts : ofPod)),
    ...(mostConnections !== undefined && {
      connections:
        openConnections(readings.get("connection_counts"), readings.get("connections_aged")).get(ifindex) ?? 0,
      max_connections: mostConnections,
    }),
  };
  return { owner, labels: { pod, pod_namespace: namespace }, reasons: {}, rules: [], gauges };
}

const nothing: Account = {
  receivedPackets: 0n,
  receivedBytes: 0n,
  sentPackets: 0n,
  sentBytes: 0n,
  refusedPackets: 0n,
  tcpPackets: 0n,
  udpPackets: 0n,
  blockedPackets: 0n,
};

const fields = Object.keys(nothing) as (keyof Account)[];

/** Summed over the CPUs. */
function readAccount(entries: MapEntries | undefined, ifindex: number): Account {
  const sum = { ...nothing };
  if (entries === undefined || entries.count === 0) return sum;
  const keys = new DataView(entries.keys.buffer, entries.keys.byteOffset, entries.keys.byteLength);
  const values = new DataView(entries.values.buffer, entries.values.byteOffset, entries.values.byteLength);
  const stride = entries.values.byteLength / entries.count;
  for (let entry = 0; entry < entries.count; entry++) {
    if (keys.getUint32(entry * 4, true) !== ifindex) continue;
    for (let at = entry * stride; at < (entry + 1) * stride; at += accountSize) {
      const one = decodeAccount(values, at);
      for (const field of fields) sum[field] += one[field];
    }
  }
  return sum;
}
