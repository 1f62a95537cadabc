import type { PolicyIntent } from "../intent.ts";
import type { Cell, RankedRule, VerdictTable } from "../table/policy-table.ts";
import { PolicyLimitError, type PolicyLimits } from "./limits.ts";
import type { Names } from "./names.ts";
import { Partition } from "./partition.ts";
import type { PortSet, PortSets } from "./port-sets.ts";
import type { ReadRule } from "./read-rule.ts";

/** Addresses that a rule is about, by their classes. */
export interface ClassSet {
  readonly id: number;
  /** Ascending. */
  readonly classes: readonly number[];
}

/** Part of what a rule covers: all of these peers at all of these ports. */
export interface Region {
  readonly peers: "any" | ClassSet;
  readonly ports: "any" | PortSet;
  /** Of DNS: the set of names that may be asked for there. */
  readonly names?: number | undefined;
}

export interface CoveringRule {
  readonly rule: ReadRule;
  readonly regions: readonly Region[];
}

/** What the tables take together, and which object how much of it. */
export class Budget {
  readonly #limits: PolicyLimits;
  readonly #spent = new Map<PolicyIntent, number>();
  #cells = 0;
  #rowBytes = 0;

  constructor(limits: PolicyLimits) {
    this.#limits = limits;
  }

  get limits(): PolicyLimits {
    return this.#limits;
  }

  spendCell({ intent }: ReadRule): void {
    if (intent !== undefined) this.#spent.set(intent, (this.#spent.get(intent) ?? 0) + 1);
    if (++this.#cells > this.#limits.cells)
      this.#refuse(`more than ${this.#limits.cells} pairs of peers and ports decide on this node`);
  }

  spendRows(bytes: number, rules: readonly CoveringRule[]): void {
    this.#rowBytes += bytes;
    if (this.#rowBytes <= this.#limits.rowBytes) return;
    for (const { rule } of rules)
      if (rule.intent !== undefined) this.#spent.set(rule.intent, (this.#spent.get(rule.intent) ?? 0) + 1);
    this.#refuse(`the tables of this node need more than ${this.#limits.rowBytes} bytes to tell peers apart`);
  }

  #refuse(what: string): never {
    const [most] = [...this.#spent].toSorted(([, a], [, b]) => b - a);
    if (most === undefined) throw new RangeError(what);
    throw new PolicyLimitError(most[0].policy.ref, `${what}; this object takes most of it: name fewer peers or ports`);
  }
}

/** `rules` in the order in which they decide; `otherwise` is what holds where none does. */
export function buildVerdictTable(
  rules: readonly CoveringRule[],
  otherwise: RankedRule,
  classCount: number,
  portSets: PortSets,
  budget: Budget,
  names: Names,
): VerdictTable {
  const last = rules.findIndex(({ regions }) => regions.some(({ peers, ports }) => peers === "any" && ports === "any"));
  const deciding = last < 0 ? rules : rules.slice(0, last);
  const ranked = (last < 0 ? rules : rules.slice(0, last + 1)).map(({ rule }) => rankedRule(rule));
  const regions = deciding.flatMap((each) => each.regions);
  const { rows, rowsOf } = foldRows(regions, classCount, deciding, budget);
  const columns = portSets.columnsOf(new Set(regions.flatMap(({ ports }) => (ports === "any" ? [] : [ports]))));
  if (columns.count > budget.limits.columns)
    throw tooMany(deciding, `its policies tell more than ${budget.limits.columns} ports apart`);
  const cells = fillCells(deciding, rowsOf, columns.of, budget);
  const all = last < 0 ? [...ranked, otherwise] : ranked;
  const built = { rows, columnMap: columns.index, cells, rules: all };
  if (regions.every((region) => region.names === undefined)) return built;
  const covering = last < 0 ? rules : rules.slice(0, last + 1);
  return { ...built, ...restrictNames(built, nameCells(covering, rowsOf, columns.of, names), budget) };
}

/** What holds for questions of DNS at one row and column: the first rule tells, and all have a say about names. */
interface NameCell {
  readonly row: number;
  readonly column: number;
  readonly rule: ReadRule;
  readonly names: number | "any";
}

/** A rule without names lets every question pass; with names beside it, answers teach all the same. */
function nameCells(
  rules: readonly CoveringRule[],
  rowsOf: ReadonlyMap<ClassSet, readonly number[]>,
  columnsOf: ReadonlyMap<number, readonly number[]>,
  names: Names,
): readonly NameCell[] {
  const columnsOfRegion = ({ ports }: Region): readonly number[] =>
    ports === "any" ? [] : (columnsOf.get(ports.id) ?? []);
  const asking = rules.flatMap(({ regions }) => regions.filter((region) => region.names !== undefined));
  const found: NameCell[] = [];
  for (const column of new Set(asking.flatMap(columnsOfRegion))) {
    const covers = (region: Region): boolean => region.ports === "any" || columnsOfRegion(region).includes(column);
    const covering = rules.flatMap(({ rule, regions }) => regions.filter(covers).map((region) => ({ rule, region })));
    const rows = new Set([
      0,
      ...covering.flatMap(({ region: { peers } }) => (peers === "any" ? [] : (rowsOf.get(peers) ?? []))),
    ]);
    for (const row of rows) {
      const some = covering.filter(
        ({ region: { peers } }) => peers === "any" || rowsOf.get(peers)?.includes(row) === true,
      );
      const [first] = some;
      if (first === undefined || first.rule.verdict === "drop") continue;
      const sets = some.flatMap(({ region }) => region.names ?? []);
      if (sets.length === 0) continue;
      found.push({ row, column, rule: first.rule, names: sets.length < some.length ? "any" : names.unite(sets) });
    }
  }
  return found;
}

/** Ranks of their own, before the last one, which is the default. */
function restrictNames(
  { cells, rules }: Pick<VerdictTable, "cells" | "rules">,
  restricted: readonly NameCell[],
  budget: Budget,
): Pick<VerdictTable, "cells" | "rules"> {
  const ranks = new Map<string, number>();
  const further: RankedRule[] = [];
  const placed = new Map(cells.map((cell) => [cell.row * 65_536 + cell.column, cell]));
  for (const { row, column, rule, names } of restricted) {
    const key = `${rule.index} ${names}`;
    let rank = ranks.get(key);
    if (rank === undefined) {
      ranks.set(key, (rank = rules.length - 1 + further.length));
      further.push({ ...rankedRule(rule), names });
    }
    const place = row * 65_536 + column;
    if (!placed.has(place)) budget.spendCell(rule);
    placed.set(place, { row, column, rank });
  }
  return { cells: [...placed.values()], rules: [...rules.slice(0, -1), ...further, ...rules.slice(-1)] };
}

function rankedRule({ intent, index, verdict, keepsFlows, effect, logs = false }: ReadRule): RankedRule {
  return {
    rule: index,
    verdict,
    keepsFlows,
    ...(effect !== undefined && { effect }),
    ...(logs && { logs }),
    ...(intent === undefined && { isOfHost: true }),
  };
}

/** Classes that no region tells apart share a row; row 0 is of those that no region names. */
function foldRows(
  regions: readonly Region[],
  classCount: number,
  rules: readonly CoveringRule[],
  budget: Budget,
): { readonly rows: Uint16Array; readonly rowsOf: ReadonlyMap<ClassSet, readonly number[]> } {
  const sets = [...new Set(regions.flatMap(({ peers }) => (peers === "any" ? [] : [peers])))];
  const partition = new Partition(classCount);
  for (const [local, { classes }] of sets.entries()) partition.divide(local, classes);
  const { numbers, blockOf } = partition.dense();
  if (blockOf.length > budget.limits.rows)
    throw tooMany(rules, `its policies tell more than ${budget.limits.rows} peers apart`);
  budget.spendRows(classCount * 2, rules);
  const rowsOf = new Map<ClassSet, number[]>(sets.map((set) => [set, []]));
  for (const [row, block] of blockOf.entries()) {
    for (const local of partition.setsOf(block)) {
      const set = sets[local];
      if (set !== undefined) rowsOf.get(set)?.push(row);
    }
  }
  return { rows: new Uint16Array(numbers), rowsOf };
}

function fillCells(
  rules: readonly CoveringRule[],
  rowsOf: ReadonlyMap<ClassSet, readonly number[]>,
  columnsOf: ReadonlyMap<number, readonly number[]>,
  budget: Budget,
): readonly Cell[] {
  const cells: Cell[] = [];
  const filled = new Set<number>();
  // Ascending by rank: what is there decides before this rule does.
  const fill = (row: number, column: number, rank: number, rule: ReadRule): void => {
    const place = row * 65_536 + column;
    if (filled.has(place) || filled.has(column) || filled.has(row * 65_536)) return;
    filled.add(place);
    cells.push({ row, column, rank });
    budget.spendCell(rule);
  };
  for (const [rank, { rule, regions }] of rules.entries()) {
    for (const { peers, ports } of regions) {
      const rows = peers === "any" ? anyPlace : (rowsOf.get(peers) ?? []);
      const columns = ports === "any" ? anyPlace : (columnsOf.get(ports.id) ?? []);
      for (const row of rows) for (const column of columns) fill(row, column, rank, rule);
    }
  }
  return cells;
}

const anyPlace = [0];

/** Of the objects that have rules here, the one with most. */
function tooMany(rules: readonly CoveringRule[], what: string): Error {
  const counts = new Map<PolicyIntent, number>();
  for (const { rule, regions } of rules)
    if (rule.intent !== undefined) counts.set(rule.intent, (counts.get(rule.intent) ?? 0) + regions.length);
  const [most] = [...counts].toSorted(([, a], [, b]) => b - a);
  if (most === undefined) return new RangeError(what);
  return new PolicyLimitError(most[0].policy.ref, `${what} for one pod; this object has most of the rules: divide it`);
}
