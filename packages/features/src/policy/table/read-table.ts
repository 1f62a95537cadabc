import {
  decodePolicyEndpoint,
  decodePolicyHeader,
  decodeRankedRule,
  decodeVerdictTable,
  policyEndpointSize,
  policyLayout,
  rankedRuleSize,
  ruleFlag,
  type PolicyHeader,
} from "../generated/policy.ts";

/** What stands in the lines of a table, for people. */
export interface TableContents {
  readonly serial: bigint;
  readonly counterSlot: number;
  readonly endpoints: readonly {
    readonly ifindex: number;
    /** Numbers of tables, all of which must allow. */
    readonly ingress: readonly number[];
    readonly egress: readonly number[];
  }[];
  readonly tables: readonly {
    readonly number: number;
    /** By rank: the lowest of those that mean a packet decides; the last one is what holds for all others. */
    readonly rules: readonly {
      /** Index of its counter; 0: none. */
      readonly rule: number;
      readonly verdict: "pass" | "drop";
      readonly keepsFlows: boolean;
    }[];
  }[];
  readonly addresses: readonly {
    /** 16 bytes in network order; IPv4 as ::ffff:a.b.c.d. */
    readonly bytes: Uint8Array;
    /** Of 128. */
    readonly length: number;
    readonly class: number;
  }[];
  readonly unknownClass: { readonly ipv4: number; readonly ipv6: number };
}

const lineBytes = policyLayout.line_bytes;

export function readTable(lines: Uint8Array): TableContents {
  const view = new DataView(lines.buffer, lines.byteOffset, lines.byteLength);
  const header = decodePolicyHeader(view);
  const endpoints = readEndpoints(view, header);
  const places = [...new Set(endpoints.flatMap(({ ingress, egress }) => [...ingress, ...egress]))];
  const tables = places.map((place) => ({ place, table: readVerdicts(view, place) }));
  const numberOf = new Map(tables.map(({ place, table }) => [place, table.number]));
  const numbers = (all: readonly number[]): readonly number[] => all.map((place) => numberOf.get(place) ?? 0);
  return {
    serial: header.serial,
    counterSlot: header.counters,
    endpoints: endpoints
      .map(({ ifindex, ingress, egress }) => ({ ifindex, ingress: numbers(ingress), egress: numbers(egress) }))
      .toSorted((a, b) => a.ifindex - b.ifindex),
    tables: tables.map(({ table }) => table).toSorted((a, b) => a.number - b.number),
    addresses: readAddresses(view, header),
    unknownClass: { ipv4: header.unknown4, ipv6: header.unknown6 },
  };
}

/** All lines of all buckets; `nextWord` is where a line names the one in which it goes on. */
function* linesOf(view: DataView, first: number, mask: number, nextWord: number): Generator<number> {
  for (let bucket = 0; bucket <= mask; bucket++) {
    let line = first + bucket;
    for (let count = 0; count < policyLayout.bucket_lines && line !== 0; count++) {
      yield line * lineBytes;
      line = view.getUint32(line * lineBytes + nextWord * 4, true);
    }
  }
}

function readEndpoints(view: DataView, { endpoints, endpointMask }: PolicyHeader): TableContents["endpoints"] {
  const found: TableContents["endpoints"][number][] = [];
  for (const at of linesOf(view, endpoints, endpointMask, 1)) {
    for (let way = 0; way < policyLayout.endpoint_ways; way++) {
      const { ifindex, ingress, egress } = decodePolicyEndpoint(view, at + way * policyEndpointSize);
      const used = (all: readonly number[]): readonly number[] => all.filter((place) => place !== 0);
      if (ifindex !== 0) found.push({ ifindex, ingress: used(ingress), egress: used(egress) });
    }
  }
  return found;
}

function readVerdicts(view: DataView, place: number): TableContents["tables"][number] {
  const { number, rules, fallback } = decodeVerdictTable(view, place * lineBytes);
  const read = Array.from({ length: fallback + 1 }, (_, rank) => {
    const { rule, flags } = decodeRankedRule(view, rules * lineBytes + rank * rankedRuleSize);
    const verdict = flags & ruleFlag.drops ? ("drop" as const) : ("pass" as const);
    return { rule, verdict, keepsFlows: (flags & ruleFlag.keeps_flows) !== 0 };
  });
  return { number, rules: read };
}

function readAddresses(view: DataView, { addresses, addressMask }: PolicyHeader): TableContents["addresses"] {
  const ways = policyLayout.address_ways;
  const found: TableContents["addresses"][number][] = [];
  for (const at of linesOf(view, addresses, addressMask, 15)) {
    for (let way = 0; way < ways; way++) {
      const entry = view.getUint32(at + (ways * 4 + way) * 4, true);
      const length = entry >>> 24;
      if (length === policyLayout.no_length) continue;
      const bytes = new Uint8Array(16);
      const words = new DataView(bytes.buffer);
      words.setBigUint64(0, view.getBigUint64(at + way * 8, true));
      words.setBigUint64(8, view.getBigUint64(at + (ways + way) * 8, true));
      found.push({ bytes, length, class: entry & 0xff_ffff });
    }
  }
  return found;
}
