import type { PolicyIntent } from "../intent.ts";
import type { Cell, RankedRule, VerdictTable } from "../table/policy-table.ts";
import { PolicyLimitError, type PolicyLimits } from "./limits.ts";
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
): VerdictTable {
  const last = rules.findIndex(({ regions }) => regions.some(({ peers, ports }) => peers === "any" && ports === "any"));
  const deciding = last < 0 ? rules : rules.slice(0, last);
  const ranked = (last < 0 ? rules : rules.slice(0, last + 1)).map(({ rule }) => rankedRule(rule));
  const regions = deciding.flatMap((each) => each.regions);
  const { rows, rowsOf } = foldRows(regions, classCount, deciding, budget);
  const columns = portSets.columnsOf(new Set(regions.flatMap(({ ports }) => (ports === "any" ? [] : [ports]))));
  if (columns.count > budget.limits.columns)
    throw tooMany(deciding, `its policies tell more than ${budget.limits.columns} ports apart`);
  return {
    rows,
    columnMap: columns.index,
    cells: fillCells(deciding, rowsOf, columns.of, budget),
    rules: last < 0 ? [...ranked, otherwise] : ranked,
  };
}

function rankedRule({ index, verdict, keepsFlows }: ReadRule): RankedRule {
  return { rule: index, verdict, keepsFlows };
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
