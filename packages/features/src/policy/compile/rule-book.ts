import { refKey } from "@bpfleet/base";
import { usualFailSafePorts, type NodeFacts, type PolicySettings, type RuleRef } from "@bpfleet/kernel";
import { burstOf } from "../pace.ts";
import type { PolicyRule } from "../policy.ts";
import { failSafeRules } from "./fail-safe.ts";
import { mistakeText, type ClosedPolicy } from "./limits.ts";
import type { Names } from "./names.ts";
import { portName, type Peers } from "./peers.ts";
import type { Population } from "./population.ts";
import { keyedRanges, rangeOfPort, type PortSet, type PortSets } from "./port-sets.ts";
import { readRule, type Direction, type KnownRule, type NamedPortMatch, type ReadRule } from "./read-rule.ts";
import { ruleId } from "./rule-text.ts";
import type { RuleEffect } from "../table/policy-table.ts";
import type { Statement } from "./statements.ts";

/** All rules that may decide on this node, read and numbered. */
export interface RuleBook {
  readonly refs: readonly RuleRef[];
  readonly refsOf: ReadonlyMap<string, readonly RuleRef[]>;
  /** What events of rules carry, by the indexes of those. */
  readonly logValues: ReadonlyMap<number, string>;
  /** By the number of a statement. */
  readonly statements: readonly ReadStatement[];
  /** Lets this node reach its pods; before all others. */
  readonly hostAccess: ReadRule | undefined;
  /** Keeps ports of the node itself open, before all that is said of it. */
  readonly failSafe: Readonly<Record<Direction, readonly ReadRule[]>> | undefined;
  /** Names of ports by which rules tell peers apart. */
  readonly egressPorts: readonly NamedPortMatch[];
}

export interface ReadStatement {
  readonly ingress: readonly ReadRule[];
  readonly egress: readonly ReadRule[];
}

/** The first of all rules, where it holds. */
export function hostAccessRef(nodeName: string): RuleRef {
  const origin = { object: { group: "", kind: "Node", namespace: "", name: nodeName }, path: "" };
  return { index: 1, id: ruleId("host access"), text: "this node reaches its pods", origin };
}

interface Draft {
  readonly rule: Omit<ReadRule, "precedence">;
  readonly span: number;
}

/** Objects that cannot be read are added to `closed`. */
export function readRules(
  statements: readonly Statement[],
  settings: PolicySettings,
  facts: Pick<NodeFacts, "nodeName">,
  peers: Peers,
  portSets: PortSets,
  names: Names,
  closed: Map<string, ClosedPolicy>,
): RuleBook {
  const shelf = new Shelf(peers, portSets, names);
  const hostAccess = settings.hostAccess !== "never" ? shelf.addHostAccess(facts.nodeName) : undefined;
  const isOfNodes = statements.some(({ statement }) => statement.subject.selects === "nodes");
  const failSafe = isOfNodes ? shelf.addFailSafe(settings, facts) : undefined;
  const drafts = statements.map((each) => {
    const key = refKey(each.intent.policy.ref);
    if (!closed.has(key)) {
      try {
        return shelf.read(each);
      } catch (error) {
        closed.set(key, { ref: each.intent.policy.ref, why: mistakeText("read a rule", error) });
      }
    }
    return shelf.close(each);
  });
  const ranked = rank(drafts.flatMap(({ ingress, egress }) => [...ingress, ...egress]));
  const rulesOf = (some: readonly Draft[]): readonly ReadRule[] => some.flatMap((draft) => ranked.get(draft) ?? []);
  const read = drafts.map(({ ingress, egress }) => ({ ingress: rulesOf(ingress), egress: rulesOf(egress) }));
  return {
    refs: shelf.refs,
    refsOf: shelf.refsOf,
    logValues: shelf.logValues,
    statements: read,
    hostAccess,
    failSafe,
    egressPorts: read.flatMap(({ egress }) => egress.flatMap(({ namedPorts }) => namedPorts)),
  };
}

/**
 * What denies is before what allows; of equal verdicts the most specific tells most. Those of tiers that have an order
 * of their own, which no table has beside others, are as written.
 */
function rank(drafts: readonly Draft[]): ReadonlyMap<Draft, ReadRule> {
  const isOrdered = ({ rule }: Draft): boolean => rule.intent?.tier === "fallback" || rule.intent?.tier === "container";
  const order = (draft: Draft): number => (draft.rule.verdict === "drop" ? 0 : 1);
  const priority = ({ rule }: Draft): number => rule.intent?.priority ?? 0;
  const sorted = [
    ...drafts
      .filter((draft) => !isOrdered(draft))
      .toSorted((a, b) => order(a) - order(b) || a.span - b.span || a.rule.index - b.rule.index),
    ...drafts.filter(isOrdered).toSorted((a, b) => priority(a) - priority(b) || a.rule.index - b.rule.index),
  ];
  return new Map(sorted.map((draft, precedence) => [draft, { ...draft.rule, precedence }]));
}

class Shelf {
  readonly refs: RuleRef[] = [];
  readonly refsOf = new Map<string, RuleRef[]>();
  readonly logValues = new Map<number, string>();
  readonly #meanings = new Map<string, number>();
  readonly #peers: Peers;
  readonly #portSets: PortSets;
  readonly #names: Names;

  constructor(peers: Peers, portSets: PortSets, names: Names) {
    this.#peers = peers;
    this.#portSets = portSets;
    this.#names = names;
  }

  addHostAccess(nodeName: string): ReadRule {
    const ref = hostAccessRef(nodeName);
    this.refs.push(ref);
    const host = this.#peers.number({ is: "entity", entity: "host" }, true);
    return {
      intent: undefined,
      verdict: "pass",
      index: ref.index,
      keepsFlows: false,
      peers: [host],
      ports: "any",
      namedPorts: [],
      dns: [],
      precedence: -1,
    };
  }

  addFailSafe(
    { failSafePorts = usualFailSafePorts }: PolicySettings,
    facts: Pick<NodeFacts, "nodeName">,
  ): NonNullable<RuleBook["failSafe"]> {
    const number = (id: string, text: string, origin: RuleRef["origin"]): number => this.#number(id, text, origin);
    return failSafeRules(failSafePorts, facts, { peers: this.#peers, portSets: this.#portSets, number });
  }

  read(each: Statement): { ingress: readonly Draft[]; egress: readonly Draft[] } {
    const statement = `${refKey(each.intent.policy.ref)}#${each.number}`;
    const read = (["ingress", "egress"] as const).flatMap((direction) =>
      (["deny", "allow"] as const).flatMap((list) => {
        const place = { name: `${statement} ${direction} ${list}`, direction, list };
        return each.statement[direction][list].map((rule) => ({ direction, list, rule, known: readRule(rule, place) }));
      }),
    );
    const drafts = { ingress: [] as Draft[], egress: [] as Draft[] };
    for (const { direction, list, rule, known } of read)
      drafts[direction].push({ rule: this.#add(each, list, rule, known), span: known.span });
    return drafts;
  }

  /** Of an object that is not served: nothing passes where it isolates. */
  close(each: Statement): { ingress: readonly Draft[]; egress: readonly Draft[] } {
    const { intent, statement, number } = each;
    const draftsOf = (direction: Direction): readonly Draft[] => {
      const { isDefaultDeny, deny } = statement[direction];
      if (!isDefaultDeny && deny.length === 0) return [];
      const id = ruleId(`${refKey(intent.policy.ref)}#${number} ${direction} closed`);
      const text = `nothing passes ${direction}, since the object is refused`;
      const index = this.#number(id, text, statement.origin, each);
      const rule = {
        intent,
        verdict: "drop",
        index,
        keepsFlows: false,
        peers: "any",
        ports: "any",
        namedPorts: [],
        dns: [],
      } as const;
      return [{ rule, span: -1 }];
    };
    return { ingress: draftsOf("ingress"), egress: draftsOf("egress") };
  }

  #add(each: Statement, list: "allow" | "deny", rule: PolicyRule, known: KnownRule): Draft["rule"] {
    const { intent } = each;
    const isAllow = list === "allow";
    const id = this.#idOf(known);
    return {
      intent,
      verdict: isAllow ? "pass" : "drop",
      effect: isAllow ? effectOf(rule, id) : undefined,
      logs: rule.log !== undefined,
      index: this.#numberLogged(this.#number(id, known.text, rule.origin, each), rule),
      keepsFlows: isAllow && intent.policy.onRevoke === "keep",
      peers: this.#numberPeers(known, isAllow),
      ports: this.#numberPorts(known),
      namedPorts: known.namedPorts,
      dns: known.dns.map(({ ports, names }) => ({
        ports: this.#portSets.intern(ports),
        names: this.#names.set(names),
      })),
    };
  }

  #numberLogged(index: number, { log }: PolicyRule): number {
    if (log?.value !== undefined) this.logValues.set(index, log.value);
    return index;
  }

  #numberPeers({ peers }: KnownRule, isAllow: boolean): ReadRule["peers"] {
    if (peers === "any") return "any";
    const numbers = peers.map(({ key, meaning }) => {
      if (meaning.is === "name") this.#names.peer(meaning.pattern);
      return this.#peers.number(meaning, isAllow, key);
    });
    return numbers.length < 2 ? numbers : [...new Set(numbers)].toSorted((a, b) => a - b);
  }

  #numberPorts({ ports }: KnownRule): ReadRule["ports"] {
    if (ports === "any") return "any";
    return ports.ranges.length === 0 ? undefined : this.#portSets.intern(ports);
  }

  /**
   * By what rules say and not by where they stand, so that they are counted on when others come and go before them.
   * Of rules that say the same the first keeps its id.
   */
  #idOf({ meaning, id }: Pick<KnownRule, "meaning" | "id">): string {
    const count = this.#meanings.get(meaning) ?? 0;
    this.#meanings.set(meaning, count + 1);
    return count === 0 ? id : ruleId(`${meaning} (${count})`);
  }

  #number(id: string, text: string, origin: RuleRef["origin"], of?: Statement): number {
    const ref = { index: this.refs.length + 1, id, text, origin };
    this.refs.push(ref);
    if (of !== undefined) {
      const key = refKey(of.intent.policy.ref);
      const refs = this.refsOf.get(key);
      if (refs === undefined) this.refsOf.set(key, [ref]);
      else refs.push(ref);
    }
    return ref.index;
  }
}

function effectOf({ bandwidth, mark }: PolicyRule, id: string): RuleEffect | undefined {
  if (bandwidth === undefined && mark === undefined) return undefined;
  return {
    ruleId: BigInt(id),
    bandwidth: bandwidth && { bitsPerSecond: bandwidth.bitsPerSecond, burstBytes: burstOf(bandwidth) },
    mark,
  };
}

/** Which peers have which number under the name of a port. */
export class EgressPorts {
  readonly #peers: Peers;
  readonly #numbers = new Map<string, readonly number[]>();

  constructor({ holders }: Population, peers: Peers) {
    this.#peers = peers;
    const numbers = new Map<string, Set<number>>();
    for (const port of new Set(holders.flatMap(({ ports }) => ports))) {
      const at = port.lastIndexOf("=");
      const name = port.slice(0, at);
      numbers.set(name, (numbers.get(name) ?? new Set()).add(Number(port.slice(at + 1))));
      for (const needsAll of [true, false]) peers.number({ is: "port", port }, needsAll);
    }
    for (const [name, all] of numbers)
      this.#numbers.set(
        name,
        [...all].toSorted((a, b) => a - b),
      );
  }

  /** Number of the peer, and its port. */
  of({ protocol, name, to }: NamedPortMatch, needsAll: boolean, portSets: PortSets): readonly [number, PortSet][] {
    const named = portName(protocol, name);
    return (this.#numbers.get(named) ?? []).map((port) => [
      this.#peers.number({ is: "port", port: `${named}=${port}` }, needsAll),
      portSets.intern(keyedRanges([rangeOfPort(protocol, port, to)])),
    ]);
  }
}
