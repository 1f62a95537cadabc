import type { RankedRule, VerdictTable } from "../table/policy-table.ts";
import type { Classes } from "./classes.ts";
import type { Names } from "./names.ts";
import { portName } from "./peers.ts";
import { keyedRanges, rangeOfPort, type PortSets } from "./port-sets.ts";
import type { Direction, ReadRule } from "./read-rule.ts";
import type { EgressPorts, RuleBook } from "./rule-book.ts";
import { decidingOf, enforcedOf, type LocalPod, type Statement } from "./statements.ts";
import { buildVerdictTable, type Budget, type ClassSet, type CoveringRule, type Region } from "./verdict-table.ts";

const passes: RankedRule = { rule: 0, verdict: "pass", keepsFlows: false };
export const drops: RankedRule = { rule: 0, verdict: "drop", keepsFlows: false };

/** Makes each table once: pods that are judged alike share it. */
export class TableMaker {
  readonly tables: VerdictTable[] = [];
  readonly #statements: readonly Statement[];
  readonly #book: RuleBook;
  readonly #classes: Classes;
  readonly #egressPorts: EgressPorts;
  readonly #portSets: PortSets;
  readonly #budget: Budget;
  readonly #names: MakerNames;
  readonly #made = new Map<string, number>();
  readonly #deciding = {
    ingress: new Map<readonly number[], readonly Deciding[]>(),
    egress: new Map<readonly number[], readonly Deciding[]>(),
  };
  readonly #classSets = new Map<string, ClassSet>();
  readonly #egressRegions = new Map<ReadRule, readonly Region[]>();

  constructor(
    statements: readonly Statement[],
    book: RuleBook,
    classes: Classes,
    egressPorts: EgressPorts,
    portSets: PortSets,
    budget: Budget,
    names: MakerNames,
  ) {
    this.#statements = statements;
    this.#book = book;
    this.#classes = classes;
    this.#egressPorts = egressPorts;
    this.#portSets = portSets;
    this.#budget = budget;
    this.#names = names;
  }

  /** Their indexes, all of which must allow; none where no policy says anything. */
  tablesOf(pod: LocalPod, direction: Direction): readonly number[] {
    return this.#tablesOf(pod, enforcedOf(pod.statements, this.#statements), direction);
  }

  /** The same, were what is only tried out in force too. */
  triedTablesOf(pod: LocalPod, direction: Direction): readonly number[] {
    return this.#tablesOf(pod, pod.statements, direction);
  }

  #tablesOf(pod: LocalPod, statements: readonly number[], direction: Direction): readonly number[] {
    return this.#decidingFor(statements, direction).map((deciding) => this.#tableOf(pod, direction, deciding));
  }

  #tableOf(pod: LocalPod, direction: Direction, { numbers, rules, askedPorts }: Deciding): number {
    const ports = direction === "ingress" ? ownPorts(pod, askedPorts) : [];
    const key = `${direction} ${numbers.join()} ${ports.map(({ name, port }) => `${name}=${port}`).join()}`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const isDefaultDeny = numbers.some((number) => this.#statements[number]?.statement[direction].isDefaultDeny);
    const intents = numbers.flatMap((number) => this.#statements[number]?.intent ?? []);
    const rates = direction === "egress" ? intents.flatMap(({ connectionRate }) => connectionRate ?? []) : [];
    const most = intents.flatMap(({ mostConnections }) => mostConnections ?? []);
    return this.#make(key, this.#cover(rules, direction, ports, pod.isNode), isDefaultDeny ? drops : passes, {
      isOfPorts: intents[0]?.tier === "l4",
      connectionRate: rates.length === 0 ? undefined : Math.min(...rates),
      mostConnections: most.length === 0 ? undefined : Math.min(...most),
    });
  }

  /** Pods that are selected alike share the list of statements. */
  #decidingFor(statements: readonly number[], direction: Direction): readonly Deciding[] {
    const all = this.#deciding[direction];
    let deciding = all.get(statements);
    if (deciding === undefined) {
      deciding = decidingOf(statements, this.#statements, direction).map((numbers) => {
        const rules = numbers.flatMap((number) => this.#book.statements[number]?.[direction] ?? []);
        const named = rules.flatMap(({ namedPorts }) => namedPorts);
        return { numbers, rules, askedPorts: new Set(named.map(({ protocol, name }) => portName(protocol, name))) };
      });
      all.set(statements, deciding);
    }
    return deciding;
  }

  /** Nothing passes. */
  closedTable(): number {
    return this.#made.get("closed") ?? this.#make("closed", [], drops);
  }

  #make(
    key: string,
    rules: readonly CoveringRule[],
    otherwise: RankedRule,
    besides: Pick<VerdictTable, "isOfPorts" | "connectionRate" | "mostConnections"> = {},
  ): number {
    const { count } = this.#classes;
    const isOfNames = rules.some(({ regions }) =>
      regions.some(({ peers }) => peers !== "any" && (peers.classes.at(-1) ?? 0) >= count),
    );
    const classCount = isOfNames ? count + this.#names.peerClasses : count;
    const built = buildVerdictTable(rules, otherwise, classCount, this.#portSets, this.#budget, this.#names.names);
    this.tables.push({ ...built, ...besides });
    this.#made.set(key, this.tables.length - 1);
    return this.tables.length - 1;
  }

  #cover(
    rules: readonly ReadRule[],
    direction: Direction,
    ports: readonly OwnPort[],
    isNode = false,
  ): readonly CoveringRule[] {
    const { hostAccess, failSafe } = this.#book;
    const sorted = rules.toSorted((a, b) => a.precedence - b.precedence);
    const first = isNode ? failSafe?.[direction] : direction === "ingress" && hostAccess ? [hostAccess] : undefined;
    return (first === undefined ? sorted : [...first, ...sorted]).flatMap((rule) => {
      const all = direction === "ingress" ? this.#ingressRegions(rule, ports) : this.#regionsToPeers(rule);
      // Nobody reads what the node asks.
      const regions = isNode ? all.filter(({ names }) => names === undefined) : all;
      return regions.length === 0 ? [] : [{ rule, regions }];
    });
  }

  /** Names of ports are those of the pod itself. */
  #ingressRegions(rule: ReadRule, own: readonly OwnPort[]): readonly Region[] {
    const peers = this.#classSetOf(rule.peers);
    if (peers === undefined) return [];
    if (rule.ports === "any" || rule.namedPorts.length === 0)
      return rule.ports === undefined ? [] : [{ peers, ports: rule.ports }];
    const named = rule.namedPorts.flatMap(({ protocol, name, to }) =>
      own.filter((each) => each.name === portName(protocol, name)).map(({ port }) => rangeOfPort(protocol, port, to)),
    );
    const ranges = [...(rule.ports?.ranges ?? []), ...named];
    return ranges.length === 0 ? [] : [{ peers, ports: this.#portSets.intern(keyedRanges(ranges)) }];
  }

  /** Names of ports are those of each peer. */
  #regionsToPeers(rule: ReadRule): readonly Region[] {
    const known = this.#egressRegions.get(rule);
    if (known !== undefined) return known;
    const regions: Region[] = [];
    const peers = this.#classSetOf(rule.peers);
    if (peers !== undefined && rule.ports !== undefined) regions.push({ peers, ports: rule.ports });
    if (peers !== undefined) regions.push(...rule.dns.map(({ ports, names }) => ({ peers, ports, names })));
    if (rule.ports !== "any") {
      for (const match of rule.namedPorts) {
        for (const [peer, ports] of this.#egressPorts.of(match, rule.verdict === "pass", this.#portSets)) {
          const having = this.#classSetOf(rule.peers, peer);
          if (having !== undefined) regions.push({ peers: having, ports });
        }
      }
    }
    this.#egressRegions.set(rule, regions);
    return regions;
  }

  /** Classes of any of the peers, and of `within` where it is given; `undefined` for none. */
  #classSetOf(peers: ReadRule["peers"], within?: number): "any" | ClassSet | undefined {
    if (peers === "any" && within === undefined) return "any";
    const key = `${peers === "any" ? "*" : peers.join()}${within === undefined ? "" : ` ${within}`}`;
    let set = this.#classSets.get(key);
    if (set === undefined) {
      set = { id: this.#classSets.size, classes: this.#classesOf(peers, within) };
      this.#classSets.set(key, set);
    }
    return set.classes.length === 0 ? undefined : set;
  }

  #classesOf(peers: ReadRule["peers"], within: number | undefined): readonly number[] {
    const { ofPeer } = this.#classes;
    const inside = within === undefined ? undefined : (ofPeer[within] ?? []);
    if (peers === "any") return inside ?? [];
    const [first, ...others] = peers;
    const one = ofPeer[first ?? -1] ?? [];
    const union =
      others.length === 0
        ? one
        : [...new Set([one, ...others.map((peer) => ofPeer[peer] ?? [])].flat())].toSorted((a, b) => a - b);
    if (inside === undefined) return union;
    const isInside = new Set(inside);
    return union.filter((each) => isInside.has(each));
  }
}

interface MakerNames {
  readonly names: Names;
  /** Of names by which peers are known. */
  readonly peerClasses: number;
}

interface Deciding {
  /** Of the statements that have a say. */
  readonly numbers: readonly number[];
  readonly rules: readonly ReadRule[];
  /** Names of ports in the rules, `TCP/http`. */
  readonly askedPorts: ReadonlySet<string>;
}

interface OwnPort {
  /** `TCP/http` */
  readonly name: string;
  readonly port: number;
}

/** Those of its ports that some rule names. */
function ownPorts({ workload }: LocalPod, asked: ReadonlySet<string>): readonly OwnPort[] {
  if (asked.size === 0) return [];
  return workload.namedPorts
    .map(({ protocol, name, port }) => ({ name: portName(protocol, name), port }))
    .filter(({ name }) => asked.has(name))
    .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.port - b.port));
}
