import type { NameAutomaton } from "./name-automaton.ts";

/**
 * All policy of a node, resolved (docs/adr/0023-policy-is-one-table.md): what write-table.ts lays out in
 * lines for the kernel, and what judge-table.ts reads.
 */
export interface PolicyTable {
  /** Tells tables apart: a verdict that another serial made is made again. 64 bits, never 0. */
  readonly serial: bigint;
  /** Slot in the map of rule counters that these rules count in. */
  readonly counterSlot: number;
  /** Of all addresses: classes are 0 … classCount - 1. */
  readonly classCount: number;
  /** Of addresses that no entry of `addresses` holds. */
  readonly unknownClass: { readonly ipv4: number; readonly ipv6: number };
  /** The longest that holds an address says its class. Each at most once. */
  readonly addresses: readonly ClassedPrefix[];
  readonly endpoints: readonly TableEndpoint[];
  readonly tables: readonly VerdictTable[];
  /** Shared by tables whose rules name the same ports. */
  readonly columnMaps: readonly ColumnMap[];
  /** Left out where no rule is about names of DNS. */
  readonly names?: TableNames | undefined;
}

export interface TableNames {
  /** Of the automaton, 48 bits: what is known of a name by another one is found out again. */
  readonly serial: bigint;
  readonly automaton: NameAutomaton;
  /** Classes of addresses below are neither of pods nor of nodes: names mean no others. */
  readonly worldClasses: number;
  /** Names that may be asked for: bits, by class. */
  readonly sets: readonly Uint8Array[];
}

export interface ClassedPrefix {
  /** Network order; IPv4 as ::ffff:a.b.c.d. */
  readonly bytes: Uint8Array;
  /** Of 128; 96 more than written for IPv4. */
  readonly length: number;
  readonly class: number;
}

/** Interfaces that are not among them are not judged. */
export interface TableEndpoint {
  /** Of the interface in the node's network namespace. */
  readonly ifindex: number;
  /** Indexes into `tables`, at most three, all of which must allow. None: everything is allowed. */
  readonly ingress: readonly number[];
  readonly egress: readonly number[];
  /** What it has, so that it sends with no other address of a family of which one is here. */
  readonly addresses?: readonly OwnAddress[] | undefined;
}

export interface OwnAddress {
  /** Network order; IPv4 as ::ffff:a.b.c.d. */
  readonly bytes: Uint8Array;
  /** It shares the link with others. */
  readonly hasNeighbours: boolean;
}

/** Rules of one direction for the endpoints that they select. */
export interface VerdictTable {
  /**
   * Class → row; 0: nothing in this table is about that class alone. At most 65,535 rows. Behind the classes of
   * addresses those of names follow, from 1 on, where a rule of the table has a name as its peer.
   */
  readonly rows: Uint16Array;
  /** Index into `columnMaps`. */
  readonly columnMap: number;
  /**
   * Row 0 is any peer, column 0 any port. A cell whose row and column are both above 0 has the lowest rank
   * of everything that covers it, rules about any peer or any port included; those of row 0 or column 0
   * have the lowest rank of the rules about just that. Cell (0, 0) is `rules.length - 1` at least: see there.
   */
  readonly cells: readonly Cell[];
  /**
   * By rank, lowest decides. The last one is what holds where no cell is found, or only higher ranks: the
   * default of the direction.
   */
  readonly rules: readonly RankedRule[];
  /** What it refuses is counted as blocked, for each endpoint. */
  readonly isOfPorts?: boolean | undefined;
  /** How many connections the endpoint may begin each second; any number when left out. The lowest holds. */
  readonly connectionRate?: number | undefined;
  /** How many connections the endpoint may have open; any number when left out. The lowest holds. */
  readonly mostConnections?: number | undefined;
}

export interface Cell {
  readonly row: number;
  readonly column: number;
  readonly rank: number;
}

export interface RankedRule {
  /** Index of its counter; 0 is no rule (the default of a direction). */
  readonly rule: number;
  readonly verdict: "pass" | "drop";
  /** A flow that it opened lives on when it ceases to allow. */
  readonly keepsFlows: boolean;
  /**
   * Of rules for DNS: index into the sets of names that may be asked for, or `any`. The answers teach. Left out: what
   * is asked is not looked at.
   */
  readonly names?: number | "any" | undefined;
  readonly effect?: RuleEffect | undefined;
  /** Flows that it decides are told as events. */
  readonly logs?: boolean | undefined;
  /** It lets this node reach its pods: no limit of connections holds for what it lets through. */
  readonly isOfHost?: boolean | undefined;
}

/** What it does to packets that it lets pass. */
export interface RuleEffect {
  /** 64 bits. Buckets are its own, whatever index it has. */
  readonly ruleId: bigint;
  /** In the direction of the rule, for each endpoint. */
  readonly bandwidth?: { readonly bitsPerSecond: number; readonly burstBytes: number } | undefined;
  /** The packets' DSCP, 0 to 63, and their `mark`, in both directions. */
  readonly mark?: number | undefined;
}

/** Which column a packet falls in. 0 where nothing is said about it. */
export interface ColumnMap {
  readonly tcp: readonly PortRange[];
  readonly udp: readonly PortRange[];
  readonly sctp: readonly PortRange[];
  /** Ports are types. */
  readonly icmp: readonly PortRange[];
  readonly icmpv6: readonly PortRange[];
  /** All other IP protocols: `from` and `to` are their numbers. */
  readonly others: readonly PortRange[];
}

/** Disjoint and ascending within a list; both ends belong to it. Columns are 1 … 65,535. */
export interface PortRange {
  readonly from: number;
  readonly to: number;
  readonly column: number;
}

/** The table cannot be written down; the message says what is too large. */
export class PolicyTableLimitError extends RangeError {}
