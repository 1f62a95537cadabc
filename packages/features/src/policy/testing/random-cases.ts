import type { Prefix } from "../../filter/intent.ts";
import type { Policy } from "../policy.ts";
import { Chance } from "./random.ts";
import { randomFallback, randomPolicies } from "./random-policy.ts";
import { aimedPacket } from "./aimed-packet.ts";
import { randomPacket, randomWorld } from "./random-world.ts";
import { isWithin, judge, type Because, type Judgement } from "./reference.ts";
import type { FallbackPolicy, World, WorldPacket } from "./world.ts";

/** Who there is, what holds, and packets with what becomes of them. */
export interface RandomCase {
  readonly world: World;
  readonly policies: readonly Policy[];
  readonly fallback: readonly FallbackPolicy[];
  readonly packets: readonly JudgedPacket[];
}

export interface JudgedPacket {
  readonly packet: WorldPacket;
  readonly judgement: Judgement;
  /** Clauses that decided, as `clausesOf` names them. */
  readonly clauses: readonly string[];
}

/** Of so many packets the one is taken whose clauses decided least until now. */
const [aimed, stray] = [3, 1];

/** Cases without end, the same for one seed. What decides seldom is looked for, so that everything does often. */
export function* randomCases(seed: number, packetsOfCase = 100): Generator<RandomCase, never> {
  const chance = new Chance(seed);
  const counts = new ClauseCounts();
  for (;;) {
    const world = randomWorld(chance);
    const fallback = randomFallback(chance, world);
    // With a fallback there are fewer of the others: it decides only where none does.
    const policies = randomPolicies(chance, world).slice(0, fallback.length > 0 ? 1 : undefined);
    const rules: Rules = { policies, fallback, plain: plainOf(policies), excepts: exceptsOf(policies) };
    const all = [...policies, ...fallback.map(({ policy }) => policy)];
    const packets = Array.from({ length: packetsOfCase }, () => {
      const tried = [
        ...Array.from({ length: aimed }, () => aimedPacket(chance, world, all)),
        ...Array.from({ length: stray }, () => randomPacket(chance, world)),
      ].map((packet) => judgePacket(rules, world, packet));
      const rarest = tried.reduce((best, next) => (counts.least(next) < counts.least(best) ? next : best));
      counts.add(rarest);
      return rarest;
    });
    yield { world, policies, fallback, packets };
  }
}

export class ClauseCounts {
  readonly #counts = new Map<string, number>();
  readonly #verdicts = { allow: 0, deny: 0 };

  add({ judgement, clauses }: JudgedPacket): void {
    this.#verdicts[judgement.verdict]++;
    for (const clause of clauses) this.#counts.set(clause, this.of(clause) + 1);
  }

  of(clause: string): number {
    return this.#counts.get(clause) ?? 0;
  }

  /** How often the clause decided that decided least. */
  least({ clauses }: JudgedPacket): number {
    return Math.min(...clauses.map((clause) => this.of(clause)));
  }

  get verdicts(): Readonly<Record<Judgement["verdict"], number>> {
    return this.#verdicts;
  }
}

/** Every clause of policies that can decide. */
export const everyClause: readonly string[] = [
  "nobody",
  "no-default",
  "default-deny",
  "local-host",
  "no-fallback",
  "fallback allow",
  "fallback deny",
  "fallback order",
  "fallback priority",
  ...["allow", "deny"].flatMap((list) => [
    list,
    ...["any", "pods", "nodes", "world-address", "any-address"].map((peer) => `${list} peer ${peer}`),
    ...["all", "cluster", "host", "remote-node", "world", "world-ipv4", "world-ipv6"].map(
      (entity) => `${list} entity ${entity}`,
    ),
    ...["any", "one", "range", "named", "icmp4", "icmp6", "protocol"].map((port) => `${list} port ${port}`),
  ]),
  ...["In", "NotIn", "Exists", "DoesNotExist"].map((operator) => `operator ${operator}`),
  ...["cluster", "namespace-label", "namespace-name", "node", "pod", "reserved", "service-account"].map(
    (on) => `label of ${on}`,
  ),
  "except",
];

interface Rules {
  readonly policies: readonly Policy[];
  readonly fallback: readonly FallbackPolicy[];
  /** The policies as if no address were excepted. */
  readonly plain: readonly Policy[];
  readonly excepts: readonly Prefix[];
}

function judgePacket({ policies, fallback, plain, excepts }: Rules, world: World, packet: WorldPacket): JudgedPacket {
  const judgement = judge(policies, world, packet, fallback);
  const clauses = clausesOf(judgement);
  const isNear = excepts.some((prefix) => isWithin(packet.peer, prefix));
  const isExcepted = isNear && judge(plain, world, packet, fallback).verdict !== judgement.verdict;
  const ordered = judgement.because.by === "rule" && judgement.because.isFallback;
  const otherOrders = ordered ? otherOrdersOf(fallback) : [];
  const byOrder = otherOrders.flatMap(([clause, other]) =>
    judge(policies, world, packet, other).verdict === judgement.verdict ? [] : [clause],
  );
  return { packet, judgement, clauses: [...clauses, ...(isExcepted ? ["except"] : []), ...byOrder] };
}

/** The fallback in other orders, by the clause that says which. */
function otherOrdersOf(fallback: readonly FallbackPolicy[]): readonly (readonly [string, readonly FallbackPolicy[]])[] {
  const reversed = fallback.map(({ policy, priority }) => ({
    priority,
    policy: { ...policy, statements: policy.statements.toReversed() },
  }));
  return [
    ["fallback order", reversed],
    ["fallback priority", fallback.map(({ policy, priority }) => ({ policy, priority: -priority }))],
  ];
}

function exceptsOf(policies: readonly Policy[]): readonly Prefix[] {
  const rules = policies.flatMap(({ statements }) =>
    statements.flatMap(({ ingress, egress }) => [ingress.allow, ingress.deny, egress.allow, egress.deny].flat()),
  );
  const peers = rules.flatMap((rule) => (rule.peers === "any" ? [] : rule.peers));
  return peers.flatMap((each) => (each.peer === "addresses" ? each.except : []));
}

/** What decided, in the words of `everyClause`. */
export function clausesOf({ verdict, because }: Judgement): readonly string[] {
  if (because.by !== "rule") return [because.by];
  const { peer, port } = because;
  const where = peer !== undefined && "where" in peer ? peer.where : [];
  return [
    verdict,
    ...(because.isFallback ? [`fallback ${verdict}`] : []),
    `${verdict} ${peerClause(peer)}`,
    `${verdict} port ${portClause(port)}`,
    ...where.flatMap(({ operator, on }) => [`operator ${operator}`, `label of ${on}`]),
  ];
}

type RuleBecause = Extract<Because, { readonly by: "rule" }>;

function peerClause(peer: RuleBecause["peer"]): string {
  if (peer === undefined) return "peer any";
  if (peer.peer === "entity") return `entity ${peer.entity}`;
  if (peer.peer !== "addresses") return `peer ${peer.peer}`;
  return peer.matches === "world" ? "peer world-address" : "peer any-address";
}

function portClause(port: RuleBecause["port"]): string {
  switch (port?.match) {
    case undefined:
      return "any";
    case "ports":
      return port.from === port.to ? "one" : "range";
    case "named-port":
      return "named";
    case "icmp":
      return `icmp${port.family}`;
    case "ip-protocol":
      return "protocol";
  }
}

function plainOf(policies: readonly Policy[]): readonly Policy[] {
  return mapRules(policies, (rule) => ({
    ...rule,
    peers:
      rule.peers === "any"
        ? "any"
        : rule.peers.map((peer) => (peer.peer === "addresses" ? { ...peer, except: [] } : peer)),
  }));
}

type Rule = Policy["statements"][number]["ingress"]["allow"][number];

function mapRules(policies: readonly Policy[], change: (rule: Rule) => Rule): readonly Policy[] {
  return policies.map((policy) => ({
    ...policy,
    statements: policy.statements.map((statement) => ({
      ...statement,
      ingress: mapDirection(statement.ingress, change),
      egress: mapDirection(statement.egress, change),
    })),
  }));
}

function mapDirection(
  direction: Policy["statements"][number]["ingress"],
  change: (rule: Rule) => Rule,
): Policy["statements"][number]["ingress"] {
  return { ...direction, allow: direction.allow.map(change), deny: direction.deny.map(change) };
}
