import type { Prefix } from "../../filter/intent.ts";
import type { Policy } from "../policy.ts";
import { Chance } from "./random.ts";
import { randomOthers, randomPolicies, type PolicyKind } from "./random-policy.ts";
import { aimedPacket } from "./aimed-packet.ts";
import { randomPacket, randomWorld, withQuestion } from "./random-world.ts";
import { servicePacket } from "./random-services.ts";
import { judge, judgeWithoutBackend, type Because, type Judgement } from "./reference.ts";
import { placesBehind, type Place } from "./reference-services.ts";
import { isWithin } from "./reference-addresses.ts";
import type { OrderedPolicy, OtherTiers, World, WorldPacket } from "./world.ts";

/** Who there is, what holds, and packets with what becomes of them. */
export interface RandomCase {
  readonly world: World;
  readonly policies: readonly Policy[];
  readonly others: OtherTiers;
  readonly packets: readonly JudgedPacket[];
}

export interface JudgedPacket {
  /** As it leaves: one for a Service is for a place behind it. */
  readonly packet: WorldPacket;
  /** Of a packet to a Service: as the pod sends it, and where it may go. */
  readonly sent?: { readonly packet: WorldPacket; readonly places: readonly Place[] } | undefined;
  readonly judgement: Judgement;
  /** Clauses that decided, as `clausesOf` names them. */
  readonly clauses: readonly string[];
}

/** Of so many packets the one is taken whose clauses decided least until now. */
const [aimed, stray] = [6, 1];

/**
 * Cases without end, the same for one seed. What decides seldom is looked for, so that everything does often.
 * `isOnePodHere`: packets are of one pod, the first.
 */
export function* randomCases(seed: number, packetsOfCase = 100, isOnePodHere = false): Generator<RandomCase, never> {
  const chance = new Chance(seed);
  const counts = new ClauseCounts();
  for (;;) {
    const world = randomWorld(chance, isOnePodHere);
    const others = randomOthers(chance, world);
    const { fallback, container, l4 } = others;
    // With other tiers there are fewer of the first: those decide only where it does not, or lets pass.
    const isFirst = fallback.length + container.length + l4.length === 0;
    const policies = randomPolicies(chance, world).slice(0, isFirst ? undefined : chance.below(2));
    const rules = rulesOf(policies, others);
    const all = [...policies, ...[...fallback, ...container].map(({ policy }) => policy), ...l4];
    const packets = Array.from({ length: packetsOfCase }, () => {
      const tried = [
        ...Array.from({ length: aimed }, () => aimedPacket(chance, world, all)),
        ...Array.from({ length: stray }, () => randomPacket(chance, world)),
        ...Array.from({ length: stray }, () => servicePacket(chance, world) ?? randomPacket(chance, world)),
      ].map((packet) => judgeSent(rules, world, packet, chance));
      const rarest = tried.reduce((best, next) => (counts.least(next) < counts.least(best) ? next : best));
      counts.add(rarest);
      return rarest;
    });
    yield { world, policies, others, packets };
  }
}

export class ClauseCounts {
  readonly #all: readonly string[];
  readonly #counts = new Map<string, number>();
  readonly #verdicts = { allow: 0, deny: 0 };

  /** `all`: clauses that have to decide. */
  constructor(all: readonly string[] = everyClause) {
    this.#all = all;
  }

  add({ judgement, clauses }: JudgedPacket): void {
    this.#verdicts[judgement.verdict]++;
    for (const clause of clauses) this.#counts.set(clause, this.of(clause) + 1);
  }

  of(clause: string): number {
    return this.#counts.get(clause) ?? 0;
  }

  /** How often the clause decided that decided least. */
  least({ clauses }: Pick<JudgedPacket, "clauses">): number {
    return Math.min(...clauses.map((clause) => this.of(clause)));
  }

  /** Verdicts of fewer than 30 in 100 pairs, and clauses that decided fewer than 1,000 of 100,000. */
  get tooRare(): readonly string[] {
    const { allow, deny } = this.#verdicts;
    const pairs = allow + deny;
    const tell = ([name, count]: readonly [string, number]): string => `${name}: ${count} of ${pairs}`;
    const verdicts = Object.entries(this.#verdicts).filter(([, count]) => count < 0.3 * pairs);
    const clauses = this.#all.map((name) => [name, this.of(name)] as const);
    return [...verdicts, ...clauses.filter(([, count]) => count < 0.01 * pairs)].map(tell);
  }
}

const ordered: readonly PolicyKind[] = ["EBPFNetworkPolicy", "EBPFContainerPolicy"];
const isolating: readonly PolicyKind[] = [
  "CiliumNetworkPolicy",
  "CiliumClusterwideNetworkPolicy",
  "NetworkPolicy",
  "EBPFContainerPolicy",
  "PodConfigMapConfig",
];

/** Every clause of policies that can decide, and every kind of them. */
const everyClause: readonly string[] = [
  "nobody",
  "no-default",
  "default-deny",
  "local-host",
  "fallback no-default",
  "container no-default",
  "container default-deny",
  "l4 default-deny",
  "l4 no-default",
  ...["fallback", "container"].flatMap((tier) =>
    ["allow", "deny", "order", "priority"].map((what) => `${tier} ${what}`),
  ),
  "l4 allow",
  "l4 deny",
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
  ...["peer service", "peer services", "entity kube-apiserver"].flatMap((peer) => [`allow ${peer}`, `deny ${peer}`]),
  "allow peer name",
  "allow port dns",
  "dns-name",
  "no-backend",
  "service",
  "namespace unknown",
  "label of service",
  "except",
  ...["allow", "deny"].flatMap((verdict) =>
    ["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", ...ordered, "PodConfigMapConfig"].map(
      (kind) => `${verdict} by ${kind}`,
    ),
  ),
  "allow by NetworkPolicy",
  ...isolating.map((kind) => `default-deny by ${kind}`),
];

/** What is in force. */
export interface Rules {
  readonly policies: readonly Policy[];
  readonly others: OtherTiers;
  /** The policies as if no address were excepted. */
  readonly plain: readonly Policy[];
  readonly excepts: readonly Prefix[];
}

export function rulesOf(policies: readonly Policy[], others: OtherTiers): Rules {
  return { policies, others, plain: plainOf(policies), excepts: exceptsOf(policies) };
}

function judgeSent(rules: Rules, world: World, packet: WorldPacket, chance: Chance): JudgedPacket {
  const places = placesBehind(world, packet);
  if (places === undefined) return judgePacket(rules, world, packet);
  if (places.length === 0) {
    const judgement = judgeWithoutBackend(rules.policies, world, packet, rules.others);
    return { packet, judgement, clauses: clausesOf(judgement), sent: { packet, places } };
  }
  const { address, port } = chance.of(places);
  // Who sends does not know which port is behind it.
  const judged = judgePacket(rules, world, withQuestion(chance, { ...packet, peer: address, port }));
  const { asks } = judged.packet;
  return { ...judged, clauses: [...judged.clauses, "service"], sent: { packet: { ...packet, asks }, places } };
}

export function judgePacket(
  { policies, others, plain, excepts }: Rules,
  world: World,
  packet: WorldPacket,
): JudgedPacket {
  const judgement = judge(policies, world, packet, others);
  const clauses = clausesOf(judgement);
  const isNear = excepts.some((prefix) => isWithin(packet.peer, prefix));
  const isExcepted = isNear && judge(plain, world, packet, others).verdict !== judgement.verdict;
  const tier = judgement.because.by === "rule" ? judgement.because.tier : undefined;
  const otherOrders = tier === "fallback" || tier === "container" ? otherOrdersOf(tier, others) : [];
  const byOrder = otherOrders.flatMap(([clause, other]) =>
    judge(policies, world, packet, other).verdict === judgement.verdict ? [] : [clause],
  );
  const isUnsure = world.pods.some(({ isNamespaceUnknown }) => isNamespaceUnknown);
  const isByDoubt = isUnsure && judge(policies, withoutDoubt(world), packet, others).verdict !== judgement.verdict;
  return {
    packet,
    judgement,
    clauses: [...clauses, ...(isExcepted ? ["except"] : []), ...(isByDoubt ? ["namespace unknown"] : []), ...byOrder],
  };
}

const certain = new WeakMap<World, World>();

/** As if namespaces of which nobody knows all labels had no other ones. */
function withoutDoubt(world: World): World {
  let known = certain.get(world);
  if (known === undefined) {
    known = { ...world, pods: world.pods.map((pod) => ({ ...pod, isNamespaceUnknown: undefined })) };
    certain.set(world, known);
  }
  return known;
}

/** A tier in other orders, by the clause that says which. */
function otherOrdersOf(
  tier: "fallback" | "container",
  others: OtherTiers,
): readonly (readonly [clause: string, others: OtherTiers])[] {
  const reordered = (change: (each: OrderedPolicy) => OrderedPolicy): OtherTiers => ({
    ...others,
    [tier]: others[tier].map(change),
  });
  const reversed = reordered(({ policy, priority }) => ({
    priority,
    policy: { ...policy, statements: policy.statements.toReversed() },
  }));
  return [
    [`${tier} order`, reversed],
    [`${tier} priority`, reordered(({ policy, priority }) => ({ policy, priority: -priority }))],
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
  if (because.by !== "rule" && !("tier" in because)) return [because.by];
  if (because.by !== "rule") {
    const kinds = new Set("policies" in because ? because.policies.map(({ ref }) => ref.kind) : []);
    const single = kinds.size === 1 ? [...kinds].map((kind) => `default-deny by ${kind}`) : [];
    return [because.tier === "policy" ? because.by : `${because.tier} ${because.by}`, ...single];
  }
  const { peer, port } = because;
  const where = peer !== undefined && "where" in peer ? peer.where : [];
  return [
    verdict,
    `${verdict} by ${because.policy.ref.kind}`,
    ...(because.tier === "policy" ? [] : [`${because.tier} ${verdict}`]),
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
      return port.dns !== undefined ? "dns" : port.from === port.to ? "one" : "range";
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
