import {
  decodePolicyHeader,
  decodePolicyEndpoint,
  decodePolicyAnnex,
  decodePolicyNames,
  decodeVerdictTable,
  policyEndpointSize,
  policyLayout,
  portSpace,
  ruleFlag,
  tableFlag,
  type PolicyHeader,
  type PolicyNames,
  type policyReason,
  type VerdictTable,
} from "../generated/policy.ts";
import { hashAddress, hashPair } from "./hash.ts";
import { isMapped, wordsOf } from "./address-words.ts";
import { nameClassOf, statePlaces } from "./name-automaton.ts";
import { anyName } from "./write-table.ts";

/** What opens a flow, as the endpoint sees it. */
export interface TableQuestion {
  readonly ifindex: number;
  readonly direction: "ingress" | "egress";
  /** The other end: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. */
  readonly peer: Uint8Array;
  /** IP protocol. */
  readonly protocol: number;
  /** Destination port; ICMP's type; 0 where there is none. */
  readonly port: number;
  /** Names by which the endpoint knows the peer. */
  readonly names?: readonly string[] | undefined;
  /** The name that it asks for, where it is for a port of DNS; false: it asks for none. */
  readonly asks?: string | false | undefined;
}

export type TableReason = Extract<
  keyof typeof policyReason,
  "allowed" | "allowed_by_default" | "denied" | "default_deny" | "unrestricted" | "not_judged" | "dns_name_refused"
>;

export interface TableAnswer {
  readonly verdict: "pass" | "drop";
  readonly reason: TableReason;
  /** Index of the counter; 0 is no rule. */
  readonly rule: number;
  /** Of the rule that decided, among those of its table; `undefined` where no table was asked. */
  readonly rank: number | undefined;
  /** A flow that this opens lives on when it ceases to be allowed. */
  readonly keepsFlow: boolean;
}

/** What the kernel's program decides of a packet that opens a flow: the same walk over the same bytes. */
export function judgeTable(lines: Uint8Array, question: TableQuestion): TableAnswer {
  const reader = new Reader(lines);
  const tables = reader.findTables(question);
  if (tables === undefined) return nothingAsked("not_judged");
  const first = tables[0];
  if (first === undefined || first === 0) return nothingAsked("unrestricted");
  const peer = reader.findClass(question.peer);
  const answer = reader.ask(tables, [peer], question);
  const classes = reader.mayMeanName(tables, peer, question) ? reader.classesOfNames(question.names ?? [], peer) : [];
  return classes.length === 0 ? answer : reader.ask(tables, [peer, ...classes], question);
}

function nothingAsked(reason: TableReason): TableAnswer {
  return { verdict: "pass", reason, rule: 0, rank: undefined, keepsFlow: false };
}

class Reader {
  readonly #view: DataView;
  readonly #header: PolicyHeader;
  readonly #names: PolicyNames | undefined;

  constructor(lines: Uint8Array) {
    this.#view = new DataView(lines.buffer, lines.byteOffset, lines.byteLength);
    this.#header = decodePolicyHeader(this.#view);
    const { names } = decodePolicyAnnex(this.#view, policyLayout.line_bytes);
    this.#names = names === 0 ? undefined : decodePolicyNames(this.#view, names * policyLayout.line_bytes);
  }

  /** `classes`: of the peer's address, and of its names. All tables must allow. */
  ask(tables: readonly number[], classes: readonly number[], question: TableQuestion): TableAnswer {
    let rule = 0;
    let rank = 0;
    let keeps = true;
    let names = 0;
    for (const at of tables) {
      if (at === 0) break;
      const table = this.table(at);
      const asked = table.flags & tableFlag.names ? classes : classes.slice(0, 1);
      const decided = Math.min(...asked.map((each) => this.decide(table, each, question)));
      const ranked = this.rule(table, decided);
      if (rule === 0) rank = decided;
      if (ranked.flags & ruleFlag.drops) {
        const reason = ranked.rule === 0 ? "default_deny" : "denied";
        return { verdict: "drop", reason, rule: ranked.rule, rank: decided, keepsFlow: false };
      }
      if (ranked.names !== 0) names = ranked.names;
      if (rule === 0) rule = ranked.rule;
      if (ranked.rule !== 0 && !(ranked.flags & ruleFlag.keeps_flows)) keeps = false;
    }
    if (question.asks !== undefined && names !== 0 && !this.#isNamed(names, question.asks))
      return { verdict: "drop", reason: "dns_name_refused", rule, rank, keepsFlow: false };
    const reason = rule === 0 ? "allowed_by_default" : "allowed";
    return { verdict: "pass", reason, rule, rank, keepsFlow: keeps && rule !== 0 };
  }

  /** Where rules are about names too, none about addresses is met. */
  mayMeanName(tables: readonly number[], peer: number, question: TableQuestion): boolean {
    return tables.some((at) => {
      if (at === 0) return false;
      const table = this.table(at);
      return (table.flags & tableFlag.names) !== 0 && this.rule(table, this.decide(table, peer, question)).rule === 0;
    });
  }

  #classOfName(name: string): number {
    if (this.#names === undefined) return 0;
    const { states } = this.#names;
    const from = this.#view.byteOffset + states * policyLayout.line_bytes;
    // States end with the table at the latest.
    const length = Math.min((this.#view.buffer.byteLength - from) >> 1, 0xffff * statePlaces);
    return nameClassOf(new Uint16Array(this.#view.buffer, from, length), name);
  }

  #isNamed(line: number, name: string | false): boolean {
    if (line === anyName) return true;
    if (name === false) return false;
    const number = this.#classOfName(name);
    return (this.#word(line, number >> 5) & (1 << (number & 31))) !== 0;
  }

  /** Names never mean pods and nodes. */
  classesOfNames(names: readonly string[], peer: number): readonly number[] {
    if (this.#names === undefined || peer >= this.#names.worldClasses) return [];
    const { firstRow } = this.#names;
    return names.flatMap((name) => {
      const number = this.#classOfName(name);
      return number === 0 ? [] : [firstRow + number - 1];
    });
  }

  #word(line: number, word: number): number {
    return this.#view.getUint32(line * policyLayout.line_bytes + word * 4, true);
  }

  /** Lines of a bucket in the order in which they are searched. */
  *#bucket(first: number, mask: number, hash: number, nextWord: number): Generator<number> {
    let line = first + ((hash & mask) >>> 0);
    for (let count = 0; count < policyLayout.bucket_lines; count++) {
      yield line;
      line = this.#word(line, nextWord);
      if (line === 0) return;
    }
  }

  findTables({ ifindex, direction }: TableQuestion): readonly number[] | undefined {
    const { endpoints, endpointMask, hashSeed } = this.#header;
    for (const line of this.#bucket(endpoints, endpointMask, hashPair(hashSeed, ifindex, 0), 1)) {
      for (let way = 0; way < policyLayout.endpoint_ways; way++) {
        const entry = decodePolicyEndpoint(this.#view, line * policyLayout.line_bytes + way * policyEndpointSize);
        if (entry.ifindex !== ifindex) continue;
        return entry[direction];
      }
    }
    return undefined;
  }

  table(line: number): VerdictTable {
    return decodeVerdictTable(this.#view, line * policyLayout.line_bytes);
  }

  rule(
    { rules }: VerdictTable,
    rank: number,
  ): { readonly rule: number; readonly flags: number; readonly names: number } {
    const word = (at: number): number => this.#word(rules, rank * 4 + at);
    return { rule: word(0), flags: word(1), names: word(2) };
  }

  findClass(peer: Uint8Array): number {
    const { lengths4, lengths6, unknown4, unknown6 } = this.#header;
    const isIpv4 = isMapped(peer);
    const list = (isIpv4 ? lengths4 : lengths6) * policyLayout.line_bytes;
    let found = this.#findAddress(peer, 128);
    for (let at = 0; found === undefined && at < policyLayout.length_lines * policyLayout.line_bytes; at++) {
      const length = this.#view.getUint8(list + at);
      if (length === policyLayout.no_length) break;
      found = this.#findAddress(peer, length);
    }
    return found ?? (isIpv4 ? unknown4 : unknown6);
  }

  #findAddress(address: Uint8Array, length: number): number | undefined {
    const { addresses, addressMask, hashSeed } = this.#header;
    const words = new Uint32Array(4);
    wordsOf(address, length, words, 0);
    const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = words;
    const ways = policyLayout.address_ways;
    for (const line of this.#bucket(addresses, addressMask, hashAddress(hashSeed, w0, w1, w2, w3, length), 15)) {
      for (let way = 0; way < ways; way++) {
        const entry = this.#word(line, ways * 4 + way);
        if (
          entry >>> 24 === length &&
          this.#word(line, way * 2 + 1) === w0 &&
          this.#word(line, way * 2) === w1 &&
          this.#word(line, ways * 2 + way * 2 + 1) === w2 &&
          this.#word(line, ways * 2 + way * 2) === w3
        ) {
          return entry & 0xff_ffff;
        }
      }
    }
    return undefined;
  }

  /** Rank of what decides. */
  decide(table: VerdictTable, peer: number, { peer: address, protocol, port }: TableQuestion): number {
    const row = peer < table.rowCount ? this.#view.getUint16(table.rows * policyLayout.line_bytes + peer * 2, true) : 0;
    const column = this.#column(table, isMapped(address), protocol, port);
    const both = row !== 0 && column !== 0 ? this.#cell(table.number, row, column) : undefined;
    if (both !== undefined) return both;
    return Math.min(
      table.fallback,
      (row === 0 ? undefined : this.#cell(table.number, row, 0)) ?? table.fallback,
      (column === 0 ? undefined : this.#cell(table.number, 0, column)) ?? table.fallback,
    );
  }

  #column(table: VerdictTable, isIpv4: boolean, protocol: number, port: number): number {
    const space = spaceOf(protocol, isIpv4);
    const place = space === portSpace.others ? protocol : port;
    const root = table.ports[space] ?? 0;
    if (root === 0) return 0;
    const page = this.#word(root, place >> 8);
    return page === 0 ? 0 : this.#view.getUint16(page * policyLayout.line_bytes + (place & 255) * 2, true);
  }

  #cell(number: number, row: number, column: number): number | undefined {
    const { cells, cellMask, hashSeed } = this.#header;
    const place = ((row << 16) | column) >>> 0;
    const ways = policyLayout.cell_ways;
    for (const line of this.#bucket(cells, cellMask, hashPair(hashSeed, number, place), 15)) {
      for (let way = 0; way < ways; way++) {
        if (this.#word(line, way) === number && this.#word(line, ways + way) === place) {
          return this.#word(line, ways * 2 + way);
        }
      }
    }
    return undefined;
  }
}

const spaces: Readonly<Record<number, number>> = { 6: portSpace.tcp, 17: portSpace.udp, 132: portSpace.sctp };

/** ICMP is itself only in its own family. */
function spaceOf(protocol: number, isIpv4: boolean): number {
  if (protocol === 1 && isIpv4) return portSpace.icmp;
  if (protocol === 58 && !isIpv4) return portSpace.icmpv6;
  return spaces[protocol] ?? portSpace.others;
}
