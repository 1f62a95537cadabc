import { bytesOfKey, parseAddressKey } from "../compile/address-key.ts";
import type { CompiledPolicy } from "../compile/compile-policy.ts";
import { judgeTable } from "../table/judge-table.ts";
import type { ColumnMap, PolicyTable } from "../table/policy-table.ts";
import { writeTable } from "../table/write-table.ts";
import { numberOf, type AddressPiece, type Family } from "./address-pieces.ts";
import type { ComparedDecision, PortSpan } from "./compare-policies.ts";
import type { HeldPiece, Holder } from "./rounds.ts";

/** Whose packets are judged. */
export type Judged = Exclude<Holder, { readonly is: "world" }>;

/** Where the packets of one are looked up in a table. */
export interface JudgedAt {
  readonly judged: Judged;
  readonly ifindex: number;
}

/** One pod or node, one peer, ports side by side: judged otherwise. */
export interface Cell {
  readonly direction: "ingress" | "egress";
  readonly judged: Judged;
  readonly holder: Holder;
  readonly piece: AddressPiece;
  readonly span: PortSpan;
  readonly before: ComparedDecision;
  readonly after: ComparedDecision;
}

const directions = ["ingress", "egress"] as const;

/** All cells of a round in which the two differ, of those that `isMeant`. */
export function findCells(
  before: CompiledPolicy,
  after: CompiledPolicy,
  all: readonly JudgedAt[],
  round: readonly HeldPiece[],
  isMeant: (judged: Judged, peer: Holder) => boolean = canBe,
): readonly Cell[] {
  const [old, renewed] = [new Side(before), new Side(after)];
  const spans = spansOf([before.table, after.table]);
  const peers = round.map((held) => {
    const bytes = bytesOfKey(parseAddressKey(held.address) ?? "");
    return { ...held, bytes, key: `${held.piece.family} ${old.classOf(bytes)} ${renewed.classOf(bytes)}` };
  });
  const ofClass = [...Map.groupBy(peers, ({ key }) => key).values()];
  const cells: Cell[] = [];
  for (const direction of directions) {
    const alike = Map.groupBy(all, ({ ifindex }) =>
      [old, renewed].map((side) => side.tablesOf(ifindex, direction)).join(" "),
    );
    for (const [tables, members] of alike) {
      const [first] = members;
      if (first === undefined || tables === " ") continue;
      for (const same of ofClass) {
        const [peer] = same;
        if (peer === undefined) continue;
        for (const { protocol, port, span } of spans[peer.piece.family]) {
          const question = { ifindex: first.ifindex, direction, peer: peer.bytes, protocol, port };
          const decisions = [old.judge(question), renewed.judge(question)] as const;
          if (decisions[0].verdict === decisions[1].verdict) continue;
          for (const { judged } of members)
            for (const { holder, piece } of same)
              if (isMeant(judged, holder))
                cells.push({ direction, judged, holder, piece, span, before: decisions[0], after: decisions[1] });
        }
      }
    }
  }
  return cells;
}

/** A namespace has one set of labels. */
function canBe(judged: Judged, peer: Holder): boolean {
  if (judged.is !== "pod" || peer.is !== "pod" || peer.pod.pod.namespace !== judged.pod.pod.namespace) return true;
  return JSON.stringify(judged.pod.namespaceLabels) === JSON.stringify(peer.pod.namespaceLabels);
}

type Question = Parameters<typeof judgeTable>[1];

/** The policies of one time, compiled. */
class Side {
  readonly #compiled: CompiledPolicy;
  readonly #lines: Uint8Array;
  readonly #classes = new Map<string, number>();
  readonly #lengths: readonly number[];
  readonly #tables: ReadonlyMap<string, string>;
  readonly #decisions = new Map<string, ComparedDecision>();

  constructor(compiled: CompiledPolicy) {
    this.#compiled = compiled;
    this.#lines = writeTable(compiled.table).lines;
    for (const { bytes, length, class: number } of compiled.table.addresses)
      this.#classes.set(`${length} ${numberOf(bytes) >> BigInt(128 - length)}`, number);
    this.#lengths = [...new Set(compiled.table.addresses.map(({ length }) => length))].toSorted((a, b) => b - a);
    this.#tables = new Map(
      compiled.table.endpoints.flatMap(({ ifindex, ...tables }) =>
        directions.map((direction) => [`${ifindex} ${direction}`, tables[direction].join()] as const),
      ),
    );
  }

  tablesOf(ifindex: number, direction: "ingress" | "egress"): string {
    return this.#tables.get(`${ifindex} ${direction}`) ?? "";
  }

  /** `u` where no prefix holds it. */
  classOf(bytes: Uint8Array): number | "u" {
    const number = numberOf(bytes);
    for (const length of this.#lengths) {
      const found = this.#classes.get(`${length} ${number >> BigInt(128 - length)}`);
      if (found !== undefined) return found;
    }
    return "u";
  }

  judge(question: Question): ComparedDecision {
    const { verdict, reason, rule } = judgeTable(this.#lines, question);
    const key = `${verdict} ${reason} ${rule}`;
    let decision = this.#decisions.get(key);
    if (decision === undefined) {
      decision = { verdict, reason, rule: this.#compiled.rules.find(({ index }) => index === rule) };
      this.#decisions.set(key, decision);
    }
    return decision;
  }
}

interface Probe {
  readonly protocol: number;
  readonly port: number;
  readonly span: PortSpan;
}

const spaces = [
  { space: "tcp", name: "TCP", protocol: 6, top: 65_535 },
  { space: "udp", name: "UDP", protocol: 17, top: 65_535 },
  { space: "sctp", name: "SCTP", protocol: 132, top: 65_535 },
  { space: "icmp", name: "ICMP", protocol: 1, top: 255 },
  { space: "icmpv6", name: "ICMPv6", protocol: 58, top: 255 },
  { space: "others", name: "IP", protocol: undefined, top: 255 },
] as const satisfies readonly { readonly space: keyof ColumnMap; readonly [field: string]: unknown }[];

/** What is apart for nodes: IGMP, and the errors of ICMP that they send, pass whatever is said of them. */
const upkeep: readonly PortSpan[] = [
  { protocol: "ICMP", from: 3, to: 3 },
  { protocol: "ICMP", from: 11, to: 12 },
  { protocol: "ICMPv6", from: 1, to: 4 },
  { protocol: "IP", from: 2, to: 2 },
];

export function isUpkeepOfNode({ direction, span, piece }: Pick<Cell, "direction" | "span" | "piece">): boolean {
  const { protocol, from, to } = span;
  if (protocol === "IP" ? piece.family === 6 : direction === "ingress") return false;
  return upkeep.some((each) => each.protocol === protocol && each.from <= from && to <= each.to);
}

const elsewhere: Readonly<Record<Family, readonly number[]>> = { 4: [1, 6, 17, 132], 6: [6, 17, 58, 132] };

/** The first port of each span that no table tells apart. */
function spansOf(tables: readonly PolicyTable[]): Readonly<Record<Family, readonly Probe[]>> {
  const maps = tables.flatMap(({ columnMaps }) => columnMaps);
  const ofFamily = (family: Family): readonly Probe[] =>
    spaces.flatMap(({ space, name, protocol, top }) => {
      if (name === (family === 4 ? "ICMPv6" : "ICMP")) return [];
      const apart = protocol === undefined ? elsewhere[family].flatMap((number) => [number, number + 1]) : [];
      const kept = upkeep.flatMap((each) => (each.protocol === name ? [each.from, each.to + 1] : []));
      const cuts = new Set([0, top + 1, ...apart, ...kept]);
      for (const map of maps) for (const { from, to } of map[space]) cuts.add(from).add(to + 1);
      const sorted = [...cuts].toSorted((a, b) => a - b);
      return sorted.flatMap((from, at): readonly Probe[] => {
        const next = sorted[at + 1];
        if (next === undefined || (protocol === undefined && elsewhere[family].includes(from))) return [];
        const span = { protocol: name, from, to: next - 1 };
        return [{ protocol: protocol ?? from, port: protocol === undefined ? 0 : from, span }];
      });
    });
  return { 4: ofFamily(4), 6: ofFamily(6) };
}
