import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { policyLayout } from "../generated/policy.ts";
import { judgeTable, type TableAnswer, type TableQuestion } from "./judge-table.ts";
import {
  PolicyTableLimitError,
  type Cell,
  type ClassedPrefix,
  type ColumnMap,
  type PolicyTable,
  type PortRange,
  type VerdictTable,
} from "./policy-table.ts";
import { writeTable } from "./write-table.ts";

const v4 = (a: number, b: number, c: number, d: number): Uint8Array =>
  Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]);

/** What a table value says, by searching all of it. */
function evaluate(table: PolicyTable, question: TableQuestion): Pick<TableAnswer, "verdict" | "rule" | "reason"> {
  const endpoint = table.endpoints.find(({ ifindex }) => ifindex === question.ifindex);
  if (!endpoint) return { verdict: "pass", rule: 0, reason: "not_judged" };
  const tables = endpoint[question.direction].map((index) => table.tables[index] as VerdictTable);
  if (tables.length === 0) return { verdict: "pass", rule: 0, reason: "unrestricted" };
  const peer = classOf(table, question.peer);
  const rules = tables.map((each) => {
    const row = each.rows[peer] ?? 0;
    const column = columnOf(table.columnMaps[each.columnMap] as ColumnMap, question);
    const ranks = each.cells
      .filter((cell) => (cell.row === row || cell.row === 0) && (cell.column === column || cell.column === 0))
      .map(({ rank }) => rank);
    const rule = each.rules[Math.min(each.rules.length - 1, ...ranks)];
    assert.ok(rule);
    return rule;
  });
  const drop = rules.find(({ verdict }) => verdict === "drop");
  if (drop) return { verdict: "drop", rule: drop.rule, reason: drop.rule === 0 ? "default_deny" : "denied" };
  const rule = rules.find((each) => each.rule !== 0)?.rule ?? 0;
  return { verdict: "pass", rule, reason: rule === 0 ? "allowed_by_default" : "allowed" };
}

function bitsOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
}

const mappedPrefix = bitsOf(v4(0, 0, 0, 0)).slice(0, 96);

function classOf({ addresses, unknownClass }: PolicyTable, peer: Uint8Array): number {
  const bits = bitsOf(peer);
  const isIpv4 = bits.startsWith(mappedPrefix);
  const holding = addresses
    .filter(({ bytes, length }) => bits.startsWith(bitsOf(bytes).slice(0, length)))
    .filter(({ length }) => !isIpv4 || length >= 96)
    .toSorted((a, b) => b.length - a.length);
  return holding[0]?.class ?? (isIpv4 ? unknownClass.ipv4 : unknownClass.ipv6);
}

function columnOf(map: ColumnMap, { protocol, port, peer }: TableQuestion): number {
  const isIpv4 = bitsOf(peer).startsWith(mappedPrefix);
  const inside = (ranges: readonly PortRange[], value: number): number =>
    ranges.find(({ from, to }) => from <= value && value <= to)?.column ?? 0;
  if (protocol === 6) return inside(map.tcp, port);
  if (protocol === 17) return inside(map.udp, port);
  if (protocol === 132) return inside(map.sctp, port);
  if (protocol === 1 && isIpv4) return inside(map.icmp, port);
  if (protocol === 58 && !isIpv4) return inside(map.icmpv6, port);
  return inside(map.others, protocol);
}

const classes = 6;
const bytes = fc.oneof(
  fc.tuple(...Array.from({ length: 4 }, () => fc.nat(3))).map(([a, b, c, d]) => v4(a ?? 0, b ?? 0, c ?? 0, d ?? 0)),
  fc
    .array(fc.nat(3), { minLength: 16, maxLength: 16 })
    .filter(([first]) => first !== 0)
    .map((all) => Uint8Array.from(all)),
);

const prefix: fc.Arbitrary<ClassedPrefix> = fc
  .tuple(bytes, fc.nat(128), fc.nat(classes - 1))
  .map(([address, length, of]) => {
    const isIpv4 = bitsOf(address).startsWith(mappedPrefix);
    const kept = isIpv4 ? 96 + (length % 33) : length;
    const masked = bitsOf(address).slice(0, kept).padEnd(128, "0");
    return {
      bytes: Uint8Array.from({ length: 16 }, (_, at) => parseInt(masked.slice(at * 8, at * 8 + 8), 2)),
      length: kept,
      class: of,
    };
  });

const ranges = (most: number): fc.Arbitrary<PortRange[]> =>
  fc.uniqueArray(fc.nat(most), { maxLength: 8 }).chain((points) => {
    const ends = points.toSorted((a, b) => a - b);
    const pairs = ends.flatMap((from, at) =>
      at % 2 === 0 && ends[at + 1] !== undefined ? [[from, ends[at + 1]]] : [],
    );
    return fc
      .array(fc.integer({ min: 1, max: 4 }), { minLength: pairs.length, maxLength: pairs.length })
      .map((columns) => pairs.map(([from = 0, to = 0], at) => ({ from, to, column: columns[at] ?? 1 })));
  });

const columnMap: fc.Arbitrary<ColumnMap> = fc.record({
  tcp: ranges(0xffff),
  udp: ranges(600),
  sctp: ranges(0xffff),
  icmp: ranges(255),
  icmpv6: ranges(255),
  others: ranges(255),
});

/** Cells (row, column) have the rank of everything that covers them, as the value must be. */
function closed(cells: readonly Cell[]): Cell[] {
  const rankAt = (row: number, column: number): number =>
    Math.min(...cells.filter((cell) => cell.row === row && cell.column === column).map(({ rank }) => rank));
  const all = new Map(cells.map((cell) => [`${cell.row} ${cell.column}`, cell]));
  return [...all.values()].map(({ row, column }) => {
    const own = rankAt(row, column);
    if (row === 0 || column === 0) return { row, column, rank: own };
    return { row, column, rank: Math.min(own, rankAt(row, 0), rankAt(0, column), rankAt(0, 0)) };
  });
}

const verdictTable: fc.Arbitrary<VerdictTable> = fc
  .array(
    fc.record({
      rule: fc.nat(9),
      verdict: fc.constantFrom("pass" as const, "drop" as const),
      keepsFlows: fc.boolean(),
    }),
    { minLength: 1, maxLength: 9 },
  )
  .chain((rules) =>
    fc.record({
      rules: fc.constant(rules),
      rows: fc.array(fc.nat(3), { minLength: classes, maxLength: classes }).map((rows) => Uint16Array.from(rows)),
      columnMap: fc.nat(1),
      cells: fc
        .array(fc.record({ row: fc.nat(3), column: fc.nat(4), rank: fc.nat(rules.length - 1) }), { maxLength: 20 })
        .map(closed),
    }),
  );

const tableIndexes = fc.uniqueArray(fc.nat(2), { maxLength: 3 });

const policyTable: fc.Arbitrary<PolicyTable> = fc.record({
  serial: fc.bigInt({ min: 1n, max: (1n << 64n) - 1n }),
  counterSlot: fc.nat(255),
  classCount: fc.constant(classes),
  unknownClass: fc.record({ ipv4: fc.nat(classes - 1), ipv6: fc.nat(classes - 1) }),
  addresses: fc.uniqueArray(prefix, {
    maxLength: 40,
    selector: ({ bytes: address, length }) => `${address.join(".")}/${length}`,
  }),
  endpoints: fc.uniqueArray(
    fc.record({ ifindex: fc.integer({ min: 1, max: 12 }), ingress: tableIndexes, egress: tableIndexes }),
    { maxLength: 12, selector: ({ ifindex }) => ifindex },
  ),
  tables: fc.array(verdictTable, { minLength: 3, maxLength: 3 }),
  columnMaps: fc.array(columnMap, { minLength: 2, maxLength: 2 }),
});

const question: fc.Arbitrary<TableQuestion> = fc.record({
  ifindex: fc.integer({ min: 1, max: 13 }),
  direction: fc.constantFrom("ingress" as const, "egress" as const),
  peer: bytes,
  protocol: fc.constantFrom(6, 17, 132, 1, 58, 47),
  port: fc.nat(255),
});

test("judgeTable of what writeTable wrote says what a search of the whole value says", () => {
  fc.assert(
    fc.property(
      policyTable,
      fc.array(question, { minLength: 20, maxLength: 20 }),
      fc.nat(),
      (table, questions, pick) => {
        const { lines } = writeTable(table);
        for (const each of questions) {
          const edges = table.columnMaps
            .flatMap((map) => [...map.tcp, ...map.sctp])
            .flatMap(({ from, to }) => [from, to]);
          const port =
            edges.length > 0 && each.port % 2 === 1 ? (edges[(pick + each.port) % edges.length] ?? 0) : each.port;
          const asked = each.protocol === 6 || each.protocol === 132 ? { ...each, port } : each;
          const { verdict, rule, reason } = judgeTable(lines, asked);
          assert.deepEqual({ verdict, rule, reason }, evaluate(table, asked));
        }
      },
    ),
    { numRuns: 100 },
  );
});

function largeTable(addressCount: number, ruleCount: number): PolicyTable {
  const addresses = Array.from({ length: addressCount }, (_, at) => ({
    bytes: v4(10, at >> 16, at >> 8, at),
    length: 128,
    class: at % 5000,
  }));
  const noPorts: readonly PortRange[] = [];
  return {
    serial: 7n,
    counterSlot: 3,
    classCount: 5001,
    unknownClass: { ipv4: 5000, ipv6: 5000 },
    addresses,
    endpoints: Array.from({ length: 250 }, (_, at) => ({ ifindex: at + 10, ingress: [at % 5], egress: [] })),
    tables: Array.from({ length: 5 }, () => ({
      rows: Uint16Array.from({ length: 5001 }, (_, at) => (at < 5000 ? at + 1 : 0)),
      columnMap: 0,
      cells: Array.from({ length: ruleCount / 5 }, (_, at) => ({ row: at + 1, column: 1 + (at % 100), rank: at })),
      rules: [
        ...Array.from({ length: ruleCount / 5 }, (_, at) => ({
          rule: at + 1,
          verdict: "pass" as const,
          keepsFlows: false,
        })),
        { rule: 0, verdict: "drop", keepsFlows: false },
      ],
    })),
    columnMaps: [
      {
        tcp: Array.from({ length: 100 }, (_, at) => ({ from: at * 600, to: at * 600, column: at + 1 })),
        udp: noPorts,
        sctp: noPorts,
        icmp: noPorts,
        icmpv6: noPorts,
        others: noPorts,
      },
    ],
  };
}

test("writeTable finds a place for 100,000 addresses and 12,500 rules, all of which are found again", () => {
  const table = largeTable(100_000, 12_500);
  const { lines, lineCount } = writeTable(table);
  assert.equal(lines.length, lineCount * policyLayout.line_bytes);
  for (let at = 0; at < 100_000; at += 7) {
    const rank = at % 5000;
    const answer = judgeTable(lines, {
      ifindex: 10,
      direction: "ingress",
      peer: v4(10, at >> 16, at >> 8, at),
      protocol: 6,
      port: (rank % 100) * 600,
    });
    assert.equal(answer.rule, rank < 2500 ? rank + 1 : 0, `address ${at}`);
  }
});

test("writeTable says what is too large", () => {
  const table = largeTable(10, 10);
  const endpoint = { ifindex: 1, ingress: [0, 1, 2, 3], egress: [] };
  assert.throws(() => writeTable({ ...table, endpoints: [endpoint] }), {
    constructor: PolicyTableLimitError,
    message: "write the policy table: 4 tables for one endpoint, 3 at most",
  });
  const cell = { row: 65_536, column: 0, rank: 0 };
  const [first] = table.tables;
  assert.ok(first);
  assert.throws(() => writeTable({ ...table, tables: [{ ...first, cells: [cell] }] }), {
    message: "write the policy table: 65536 rows of one table, 65535 at most",
  });
});
