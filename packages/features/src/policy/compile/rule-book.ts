import { refKey } from "@bpfleet/base";
import type { RuleRef } from "@bpfleet/kernel";
import type { PolicyRule } from "../policy.ts";
import type { PolicySettings } from "./compile-policy.ts";
import { mistakeText, type ClosedPolicy } from "./limits.ts";
import { portName, type Peers } from "./peers.ts";
import type { Population } from "./population.ts";
import { rangeOfPort, type PortSet, type PortSets } from "./port-sets.ts";
import { readRule, spanOf, type Direction, type NamedPortMatch, type ReadRule, type RuleReading } from "./read-rule.ts";
import { renderRule, RuleIds } from "./rule-text.ts";
import type { Statement } from "./statements.ts";

/** All rules that may decide on this node, read and numbered. */
export interface RuleBook {
  readonly refs: readonly RuleRef[];
  readonly refsOf: ReadonlyMap<string, readonly RuleRef[]>;
  /** By the number of a statement. */
  readonly statements: readonly ReadStatement[];
  /** Lets this node reach its pods; before all others. */
  readonly hostAccess: ReadRule | undefined;
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
  return { index: 1, id: new RuleIds().ofText("host access"), text: "this node reaches its pods", origin };
}

interface Draft {
  readonly rule: Omit<ReadRule, "precedence">;
  readonly span: number;
}

/** Objects that cannot be read are added to `closed`. */
export function readRules(
  statements: readonly Statement[],
  settings: PolicySettings,
  nodeName: string,
  peers: Peers,
  portSets: PortSets,
  closed: Map<string, ClosedPolicy>,
): RuleBook {
  const shelf = new Shelf(peers, portSets);
  const hostAccess = settings.hostAccess === "auto" ? shelf.addHostAccess(nodeName) : undefined;
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
    statements: read,
    hostAccess,
    egressPorts: read.flatMap(({ egress }) => egress.flatMap(({ namedPorts }) => namedPorts)),
  };
}

/** What denies is before what allows; of equal verdicts the most specific tells most. */
function rank(drafts: readonly Draft[]): ReadonlyMap<Draft, ReadRule> {
  const order = (draft: Draft): number => (draft.rule.verdict === "drop" ? 0 : 1);
  const sorted = drafts.toSorted((a, b) => order(a) - order(b) || a.span - b.span || a.rule.index - b.rule.index);
  return new Map(sorted.map((draft, precedence) => [draft, { ...draft.rule, precedence }]));
}

class Shelf {
  readonly refs: RuleRef[] = [];
  readonly refsOf = new Map<string, RuleRef[]>();
  readonly #ids = new RuleIds();
  readonly #peers: Peers;
  readonly #portSets: PortSets;

  constructor(peers: Peers, portSets: PortSets) {
    this.#peers = peers;
    this.#portSets = portSets;
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
      precedence: -1,
    };
  }

  read(each: Statement): { ingress: readonly Draft[]; egress: readonly Draft[] } {
    const readings = (["ingress", "egress"] as const).flatMap((direction) =>
      (["deny", "allow"] as const).flatMap((list) =>
        each.statement[direction][list].map((rule) => ({
          direction,
          list,
          rule,
          reading: readRule(rule, list === "allow", this.#peers, this.#portSets),
          text: renderRule(rule, direction, list),
          span: spanOf(rule),
        })),
      ),
    );
    // Nothing throws from here on: an object is numbered whole.
    const drafts = { ingress: [] as Draft[], egress: [] as Draft[] };
    for (const { direction, list, rule, reading, text, span } of readings)
      drafts[direction].push({ rule: this.#add(each, direction, list, rule, reading, text), span });
    return drafts;
  }

  /** Of an object that is not served: nothing passes where it isolates. */
  close(each: Statement): { ingress: readonly Draft[]; egress: readonly Draft[] } {
    const { intent, statement, number } = each;
    const draftsOf = (direction: Direction): readonly Draft[] => {
      const { isDefaultDeny, deny } = statement[direction];
      if (!isDefaultDeny && deny.length === 0) return [];
      const id = this.#ids.ofText(`${refKey(intent.policy.ref)}#${number} ${direction} closed`);
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
      } as const;
      return [{ rule, span: -1 }];
    };
    return { ingress: draftsOf("ingress"), egress: draftsOf("egress") };
  }

  #add(
    each: Statement,
    direction: Direction,
    list: "allow" | "deny",
    rule: PolicyRule,
    reading: RuleReading,
    text: string,
  ): Draft["rule"] {
    const { intent, number } = each;
    const id = this.#ids.of(intent.policy, number, direction, list, rule);
    const index = this.#number(id, text, rule.origin, each);
    const keepsFlows = list === "allow" && intent.policy.onRevoke === "keep";
    return { intent, verdict: list === "allow" ? "pass" : "drop", index, keepsFlows, ...reading };
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
  of({ protocol, name }: NamedPortMatch, needsAll: boolean, portSets: PortSets): readonly [number, PortSet][] {
    const named = portName(protocol, name);
    return (this.#numbers.get(named) ?? []).map((port) => [
      this.#peers.number({ is: "port", port: `${named}=${port}` }, needsAll),
      portSets.intern([rangeOfPort(protocol, port)]),
    ]);
  }
}
