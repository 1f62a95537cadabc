import type { ObjectRef } from "@bpfleet/base";
import type { MapSpec } from "@bpfleet/kernel";
import { enforcedOf } from "./compile/statements.ts";
import type { CompiledPolicy } from "./compile/compile-policy.ts";
import {
  bandwidthKeySize,
  connectionCountSize,
  connectionSize,
  connectionState,
  encodeBandwidthKey,
  endpointMark,
  flowDirection,
  flowKeySize,
  encodePace,
  paceSize,
  policyLayout,
  policyMaps,
} from "./generated/policy.ts";
import { paceOf } from "./pace.ts";
import type { Bandwidth } from "./policy.ts";

/** Map name in the object, or role → key. */
const keys = {
  bandwidths: "policy/bandwidths",
  bandwidth_uses: "policy/bandwidth-uses",
  connections: "policy/connections",
  connection_counts: "policy/connection-counts",
  connections_aged: "policy/connections-aged",
  log_buckets: "policy/log-buckets",
} as const;

/** Two of each endpoint at most. */
const bandwidthCount = 1 << 13;
/** Of endpoints, the gone ones too until somebody looks. */
const countCount = 1 << 12;
/** Of all endpoints that have a limit: memory is taken for those that there are. */
export const connectionCount = 1 << 16;
const logCount = 1 << 10;

/** What the endpoints of a node may use, beside what rules say. */
export interface Limits {
  readonly bandwidths: readonly EndpointBandwidth[];
  readonly countsConnections: boolean;
  readonly logsFlows: boolean;
}

interface EndpointBandwidth {
  readonly ifindex: number;
  readonly direction: "ingress" | "egress";
  readonly bandwidth: Bandwidth;
}

export function limitsOf(compiled: CompiledPolicy): Limits {
  const { pods, selection } = compiled;
  const { statements } = selection;
  const bandwidths = pods.flatMap(({ facts, statements: selecting }): readonly EndpointBandwidth[] => {
    if (facts?.found !== true) return [];
    const intents = new Set(enforcedOf(selecting, statements).flatMap((number) => statements[number]?.intent ?? []));
    return (["ingress", "egress"] as const).flatMap((direction) => {
      const all = [...intents].flatMap(({ bandwidth }) => bandwidth?.[direction] ?? []);
      const [bandwidth] = all.toSorted((a, b) => a.bitsPerSecond - b.bitsPerSecond);
      return bandwidth === undefined ? [] : [{ ifindex: facts.ifindex, direction, bandwidth }];
    });
  });
  return {
    bandwidths,
    countsConnections: limitedOf(compiled).length > 0,
    logsFlows: logsFlows(compiled),
  };
}

/** Interfaces that may have so many connections open. */
export function limitedOf({ table: { endpoints, tables } }: CompiledPolicy): readonly number[] {
  const own = endpoints.filter(({ ifindex }) => ifindex < endpointMark.tried);
  const isLimited = (at: number): boolean => tables[at]?.mostConnections !== undefined;
  return own.filter(({ ingress, egress }) => [...ingress, ...egress].some(isLimited)).map(({ ifindex }) => ifindex);
}

export function logsFlows({ table: { tables } }: Pick<CompiledPolicy, "table">): boolean {
  return tables.some(({ rules }) => rules.some(({ logs }) => logs === true));
}

/** What is not asked for is only named by the programs. */
export function planLimitMaps(
  { bandwidths, countsConnections, logsFlows }: Limits,
  owner: ObjectRef,
): { readonly maps: readonly MapSpec[]; readonly names: Readonly<Record<string, string>> } {
  const live = (
    name: Exclude<keyof typeof keys, "bandwidths">,
    isUsed: boolean,
    count: number,
    layout = "",
  ): MapSpec => ({
    key: keys[name],
    name: name === "connection_counts" ? "connect_counts" : name === "connections_aged" ? "connect_aged" : name,
    definition: { ...policyMaps[name], maxEntries: isUsed ? count : 1 },
    contents: { kind: "live" },
    layout,
    owner,
  });
  const isLimited = bandwidths.length > 0;
  const connectionLayout = [flowKeySize, connectionSize, connectionCountSize, ...Object.values(connectionState)].join();
  return {
    maps: [
      {
        key: keys.bandwidths,
        name: "bandwidths",
        definition: { ...policyMaps.bandwidths, maxEntries: isLimited ? bandwidthCount : 1 },
        contents: isLimited ? { kind: "kept", entries: entriesOf(bandwidths), prune: true } : { kind: "live" },
        layout: String(policyLayout.pace_bits),
        owner,
      },
      live("bandwidth_uses", isLimited, bandwidthCount),
      live("connections", countsConnections, connectionCount, connectionLayout),
      live("connection_counts", countsConnections, countCount, connectionLayout),
      live("connections_aged", countsConnections, countCount, connectionLayout),
      live("log_buckets", logsFlows, logCount),
    ],
    names: keys,
  };
}

function entriesOf(bandwidths: readonly EndpointBandwidth[]): {
  readonly count: number;
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
} {
  const count = bandwidths.length;
  const keyBytes = new Uint8Array(count * bandwidthKeySize);
  const values = new Uint8Array(count * paceSize);
  for (const [at, { ifindex, direction, bandwidth }] of bandwidths.entries()) {
    const key = { ifindex, direction: flowDirection[direction] };
    encodeBandwidthKey(key, new DataView(keyBytes.buffer), at * bandwidthKeySize);
    encodePace(paceOf(bandwidth), new DataView(values.buffer), at * paceSize);
  }
  return { count, keys: keyBytes, values };
}
