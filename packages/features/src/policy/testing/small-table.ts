/** Tables for tests, of a few rules as people say them. */
import type {
  ClassedPrefix,
  ColumnMap,
  PolicyTable,
  PortRange,
  RuleEffect,
  VerdictTable,
} from "../table/policy-table.ts";

/** 16 bytes; IPv4 as ::ffff:a.b.c.d. */
export function addressOf(bytes: Uint8Array): Uint8Array {
  return bytes.length === 16 ? bytes : Uint8Array.from([...new Uint8Array(10), 0xff, 0xff, ...bytes]);
}

export interface SmallRule {
  /** Any peer when left out. */
  readonly peer?: string;
  /** Any port when left out. */
  readonly port?: readonly [protocol: keyof ColumnMap, from: number, to?: number];
  readonly verdict?: "pass" | "drop";
  readonly keepsFlows?: boolean;
  readonly effect?: RuleEffect;
  readonly logs?: boolean;
  readonly rule: number;
}

export interface SmallDirection {
  readonly rules: readonly SmallRule[];
  readonly fallback?: "pass" | "drop";
}

export interface SmallPolicy {
  readonly serial?: bigint;
  /** Name → prefix. */
  readonly peers: Readonly<Record<string, readonly [bytes: Uint8Array, length: number]>>;
  /** Undefined: unrestricted. Several: all must allow. */
  readonly ingress?: readonly SmallDirection[];
  readonly egress?: readonly SmallDirection[] | undefined;
  readonly ifindex?: number;
  /** Of the endpoint; not known when left out. */
  readonly own?: readonly Uint8Array[];
}

const spaces = ["tcp", "udp", "sctp", "icmp", "icmpv6", "others"] as const;

/** Rules decide in their order, first match; the endpoint is the loopback interface, where test runs are. */
export function smallTable({
  serial = 1n,
  peers,
  ingress = [],
  egress = [],
  ifindex = 1,
  own = [],
}: SmallPolicy): PolicyTable {
  const names = Object.keys(peers);
  const addresses = Object.entries(peers).map(([name, [bytes, length]]): ClassedPrefix => {
    const mapped = addressOf(bytes);
    return { bytes: mapped, length: bytes.length === 16 ? length : length + 96, class: names.indexOf(name) };
  });
  const unknown = names.length;
  const columnMaps: ColumnMap[] = [];
  const tables = [...ingress, ...egress].map((direction): VerdictTable => {
    const ports = portsOf(direction.rules);
    columnMaps.push(ports.map);
    const rules = direction.rules.map(({ rule, verdict = "pass", keepsFlows = false, effect, logs }) => ({
      rule,
      verdict,
      keepsFlows,
      effect,
      logs,
    }));
    const fallback = { rule: 0, verdict: direction.fallback ?? ("drop" as const), keepsFlows: false };
    const cells = [];
    for (let row = 0; row <= names.length; row++) {
      for (let column = 0; column <= ports.count; column++) {
        const rank = direction.rules.findIndex(({ peer, port }) => {
          const rows = peer === undefined ? row >= 0 : row === names.indexOf(peer) + 1;
          return rows && (port === undefined || ports.columnsOf(port).includes(column));
        });
        if (rank >= 0) cells.push({ row, column, rank });
      }
    }
    return {
      rows: Uint16Array.from({ length: names.length + 1 }, (_, at) => (at < unknown ? at + 1 : 0)),
      columnMap: columnMaps.length - 1,
      cells,
      rules: [...rules, fallback],
    };
  });
  return {
    serial,
    counterSlot: Number(serial % 256n),
    classCount: unknown + 1,
    unknownClass: { ipv4: unknown, ipv6: unknown },
    addresses,
    endpoints: [
      {
        ifindex,
        ingress: ingress.map((_, at) => at),
        egress: egress.map((_, at) => ingress.length + at),
        addresses: own.map((bytes) => ({ bytes: addressOf(bytes), hasNeighbours: true })),
      },
    ],
    tables,
    columnMaps,
  };
}

function portsOf(rules: readonly SmallRule[]): {
  map: ColumnMap;
  count: number;
  columnsOf(port: NonNullable<SmallRule["port"]>): number[];
} {
  const map: Record<keyof ColumnMap, PortRange[]> = { tcp: [], udp: [], sctp: [], icmp: [], icmpv6: [], others: [] };
  let count = 0;
  for (const space of spaces) {
    const own = rules.flatMap(({ port }) => (port?.[0] === space ? [[port[1], port[2] ?? port[1]] as const] : []));
    const edges = [...new Set(own.flatMap(([from, to]) => [from, to + 1]))].toSorted((a, b) => a - b);
    for (const [at, from] of edges.slice(0, -1).entries()) {
      const to = (edges[at + 1] ?? 0) - 1;
      if (own.some((range) => range[0] <= from && to <= range[1])) map[space].push({ from, to, column: ++count });
    }
  }
  return {
    map,
    count,
    columnsOf: ([space, from, to = from]) =>
      map[space].filter((range) => from <= range.from && range.to <= to).map(({ column }) => column),
  };
}
