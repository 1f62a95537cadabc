import {
  encodePolicyAnnex,
  encodePolicyHeader,
  encodePolicyNames,
  encodeRuleEffect,
  encodeVerdictTable,
  effectFlag,
  policyLayout,
  ruleEffectSize,
  ruleFlag,
  tableFlag,
  type PolicyHeader,
} from "../generated/policy.ts";
import { paceOf } from "../pace.ts";
import { lengthLists } from "./address-words.ts";
import type { Buckets } from "./buckets.ts";
import { placePorts } from "./port-places.ts";
import {
  PolicyTableLimitError,
  type PolicyTable,
  type RuleEffect,
  type TableEndpoint,
  type TableNames,
  type VerdictTable,
} from "./policy-table.ts";
import {
  hashAll,
  readAddresses,
  readCells,
  readOwners,
  type AddressEntries,
  type CellEntries,
} from "./table-entries.ts";

const lineBytes = policyLayout.line_bytes;
const lineWords = lineBytes / 4;
const rowsInLine = lineBytes / 2;
const rulesInLine = 4;
/** Of 64 bytes: half a gigabyte. */
const mostLines = 1 << 23;
/** In place of a line. */
export const anyName = 0xffff_ffff;

export interface WrittenTable {
  /** Whole lines: the entries of the array, in order. */
  readonly lines: Uint8Array;
  readonly lineCount: number;
}

/** Lays a table out for the kernel: bpf/include/policy-table.h. */
export function writeTable(table: PolicyTable): WrittenTable {
  checkLimits(table);
  const addresses = readAddresses(table.addresses);
  const owners = readOwners(table.endpoints);
  const cells = readCells(table.tables);
  const hashed = hashAll(table, addresses, cells, owners);
  const layout = new Layout();
  layout.take("its header", 2);
  const endpointsAt = layout.take("endpoints", hashed.endpoints.lineCount);
  const addressesAt = layout.take("addresses", hashed.addresses.lineCount);
  const ownersAt = layout.take("addresses of endpoints", hashed.owners.lineCount);
  const cellsAt = layout.take("peers and ports that rules name together", hashed.cells.lineCount);
  const lists = lengthLists(table.addresses);
  const lengths4 = layout.take("lengths of prefixes", policyLayout.length_lines);
  const lengths6 = layout.take("lengths of prefixes", policyLayout.length_lines);
  const tablesAt = layout.take("tables", table.tables.length);
  const rowsAt = table.tables.map(({ rows }) => layout.take("classes of peers", Math.ceil(rows.length / rowsInLine)));
  const rulesAt = table.tables.map(({ rules }) => layout.take("rules", Math.ceil(rules.length / rulesInLine)));
  const effects = effectsOf(table.tables);
  const effectLines = effects.size === 0 ? 0 : (Math.max(...effects.keys()) >> 1) + 1;
  const effectsAt = effects.size === 0 ? 0 : layout.take("rules with rates or marks", effectLines);
  const ports = placePorts(table.columnMaps, layout.lineCount);
  const portsAt = layout.take("ports", ports.lineCount);
  const names = table.names && placeNames(table.names, layout);

  const lines = new Uint8Array(layout.lineCount * lineBytes);
  const words = new Uint32Array(lines.buffer);
  const view = new DataView(lines.buffer);
  const header: PolicyHeader = {
    serial: table.serial,
    counters: table.counterSlot,
    hashSeed: hashed.seed,
    endpoints: endpointsAt,
    endpointMask: hashed.endpoints.mask,
    addresses: addressesAt,
    addressMask: hashed.addresses.mask,
    cells: cellsAt,
    cellMask: hashed.cells.mask,
    unknown4: table.unknownClass.ipv4,
    unknown6: table.unknownClass.ipv6,
    lengths4,
    lengths6,
    unused: [0, 0],
  };
  encodePolicyHeader(header, view);
  const unused = Array.from({ length: 11 }, () => 0);
  const annex = { owners: ownersAt, ownerMask: hashed.owners.mask, names: names?.at ?? 0, effects: effectsAt };
  encodePolicyAnnex({ ...annex, effectLines, unused }, view, lineBytes);
  for (const [rule, effect] of effects) writeEffect(view, effectsAt * lineBytes + rule * ruleEffectSize, effect);
  writeEndpoints(words, endpointsAt, hashed.endpoints, table.endpoints, tablesAt);
  writeAddresses(words, addressesAt, hashed.addresses, addresses, policyLayout.no_length << 24);
  writeAddresses(words, ownersAt, hashed.owners, owners, 0);
  writeCells(words, cellsAt, hashed.cells, cells);
  lines.set(lists.ipv4, lengths4 * lineBytes);
  lines.set(lists.ipv6, lengths6 * lineBytes);
  for (const [index, each] of table.tables.entries()) {
    const roots = ports.roots[each.columnMap] ?? [];
    encodeVerdictTable(
      {
        rows: rowsAt[index] ?? 0,
        rowCount: each.rows.length,
        rules: rulesAt[index] ?? 0,
        fallback: fallbackOf(each),
        ports: roots.map((root) => (root < 0 ? 0 : portsAt + root)),
        number: index + 1,
        flags:
          (each.isOfPorts === true ? tableFlag.ports : 0) | (each.rows.length > table.classCount ? tableFlag.names : 0),
        connectionNs: each.connectionRate === undefined ? 0 : Math.max(1, Math.floor(1e9 / each.connectionRate)),
        mostConnections: each.mostConnections ?? 0,
        unused: [0, 0],
      },
      view,
      (tablesAt + index) * lineBytes,
    );
    new Uint16Array(lines.buffer, (rowsAt[index] ?? 0) * lineBytes, each.rows.length).set(each.rows);
    writeRules(words, rulesAt[index] ?? 0, each, names?.setsAt ?? []);
  }
  if (table.names && names) writeNames(lines, view, table.names, names, table.classCount);
  words.set(ports.words, portsAt * lineWords);
  return { lines, lineCount: layout.lineCount };
}

class Layout {
  lineCount = 0;

  /** Number of the first line. */
  take(what: string, count: number): number {
    const at = this.lineCount;
    this.lineCount += count;
    if (this.lineCount > mostLines) {
      throw new PolicyTableLimitError(
        `write the policy table: ${what} need ${count} lines of ${lineBytes} bytes, ${mostLines - at} are left; ` +
          "fewer policies, or peers that are told apart by fewer labels, need less",
      );
    }
    return at;
  }
}

function checkLimits(table: PolicyTable): void {
  const check = (what: string, is: number, most: number): void => {
    if (is > most) throw new PolicyTableLimitError(`write the policy table: ${is} ${what}, ${most} at most`);
  };
  check("classes of addresses", table.classCount, 1 << 24);
  for (const { ingress, egress } of table.endpoints) {
    check("tables for one endpoint", Math.max(ingress.length, egress.length), policyLayout.tiers);
  }
  for (const { cells } of table.tables) {
    for (const { row, column } of cells) {
      check("rows of one table", row, 0xffff);
      check("columns of one table", column, 0xffff);
    }
  }
}

function fallbackOf({ cells, rules }: VerdictTable): number {
  let rank = rules.length - 1;
  for (const cell of cells) if (cell.row === 0 && cell.column === 0 && cell.rank < rank) rank = cell.rank;
  return rank;
}

function writeEndpoints(
  words: Uint32Array,
  first: number,
  buckets: Buckets,
  endpoints: readonly TableEndpoint[],
  tablesAt: number,
): void {
  const entryWords = 2 + 2 * policyLayout.tiers;
  for (let at = 0; at < endpoints.length; at++) {
    const { ifindex, ingress, egress } = endpoints[at] as TableEndpoint;
    const entry = (first + (buckets.lines[at] as number)) * lineWords + (buckets.places[at] as number) * entryWords;
    words[entry] = ifindex;
    for (const [index, table] of ingress.entries()) words[entry + 2 + index] = tablesAt + table;
    for (const [index, table] of egress.entries()) words[entry + 2 + policyLayout.tiers + index] = tablesAt + table;
  }
  writeLinks(words, first, buckets, 1);
}

function writeAddresses(words: Uint32Array, first: number, buckets: Buckets, from: AddressEntries, free: number): void {
  const ways = policyLayout.address_ways;
  const entryAt = ways * 4;
  for (let line = first; line < first + buckets.lineCount; line++) {
    words.fill(free, line * lineWords + entryAt, line * lineWords + entryAt + ways);
  }
  for (let at = 0; at < from.entries.length; at++) {
    const line = (first + (buckets.lines[at] as number)) * lineWords;
    const place = buckets.places[at] as number;
    words[line + place * 2] = from.words[at * 4 + 1] as number;
    words[line + place * 2 + 1] = from.words[at * 4] as number;
    words[line + ways * 2 + place * 2] = from.words[at * 4 + 3] as number;
    words[line + ways * 2 + place * 2 + 1] = from.words[at * 4 + 2] as number;
    words[line + entryAt + place] = from.entries[at] as number;
  }
  writeLinks(words, first, buckets, lineWords - 1);
}

function writeCells(words: Uint32Array, first: number, buckets: Buckets, from: CellEntries): void {
  const ways = policyLayout.cell_ways;
  for (let at = 0; at < from.tables.length; at++) {
    const place = (first + (buckets.lines[at] as number)) * lineWords + (buckets.places[at] as number);
    words[place] = from.tables[at] as number;
    words[place + ways] = from.places[at] as number;
    words[place + ways * 2] = from.ranks[at] as number;
  }
  writeLinks(words, first, buckets, lineWords - 1);
}

function writeLinks(words: Uint32Array, first: number, { links }: Buckets, word: number): void {
  for (let at = 0; at < links.length; at += 2) {
    words[(first + (links[at] as number)) * lineWords + word] = first + (links[at + 1] as number);
  }
}

/** By the indexes of rules. */
function effectsOf(tables: readonly VerdictTable[]): ReadonlyMap<number, RuleEffect> {
  const effects = new Map<number, RuleEffect>();
  for (const { rules } of tables)
    for (const { rule, effect } of rules) if (effect !== undefined && rule !== 0) effects.set(rule, effect);
  return effects;
}

function writeEffect(view: DataView, at: number, { ruleId, bandwidth, mark }: RuleEffect): void {
  const effect = {
    pace: paceOf(bandwidth),
    ruleId,
    mark: mark ?? 0,
    flags: mark === undefined ? effectFlag.none : effectFlag.marks,
  };
  encodeRuleEffect(effect, view, at);
}

interface PlacedNames {
  /** Lines of the header, of the states and of each set. */
  readonly at: number;
  readonly statesAt: number;
  readonly setsAt: readonly number[];
}

function placeNames({ automaton, sets }: TableNames, layout: Layout): PlacedNames {
  return {
    at: layout.take("names", 1),
    statesAt: layout.take("names", (automaton.states.length * 2) / lineBytes),
    setsAt: sets.map(({ length }) => layout.take("names", Math.ceil(length / lineBytes))),
  };
}

function writeNames(
  lines: Uint8Array,
  view: DataView,
  { serial, automaton, worldClasses, sets }: TableNames,
  { at, statesAt, setsAt }: PlacedNames,
  classCount: number,
): void {
  const { peerClasses, states } = automaton;
  const unused = Array.from({ length: 10 }, () => 0);
  encodePolicyNames(
    { serial, states: statesAt, peerClasses, firstRow: classCount, worldClasses, unused },
    view,
    at * lineBytes,
  );
  new Uint16Array(lines.buffer, statesAt * lineBytes, states.length).set(states);
  for (const [index, set] of sets.entries()) lines.set(set, (setsAt[index] ?? 0) * lineBytes);
}

function writeRules(words: Uint32Array, first: number, { rules }: VerdictTable, nameSetsAt: readonly number[]): void {
  for (let rank = 0; rank < rules.length; rank++) {
    const rule = rules[rank] as VerdictTable["rules"][number];
    const at = first * lineWords + rank * 4;
    words[at] = rule.rule;
    words[at + 1] =
      (rule.verdict === "drop" ? ruleFlag.drops : 0) |
      (rule.keepsFlows ? ruleFlag.keeps_flows : 0) |
      (rule.effect === undefined ? 0 : ruleFlag.has_effect) |
      (rule.logs === true ? ruleFlag.logs : 0) |
      (rule.isOfHost === true ? ruleFlag.of_host : 0);
    if (rule.names !== undefined) words[at + 2] = rule.names === "any" ? anyName : (nameSetsAt[rule.names] ?? 0);
  }
}
