import type { Policy, PolicySubject } from "../policy.ts";
import { aimAt, randomRule } from "./aimed-packet.ts";
import { Chance } from "./random.ts";
import { ClauseCounts, judgePacket, rulesOf, type RandomCase } from "./random-cases.ts";
import { randomOrder, randomPolicies } from "./random-policy.ts";
import { addressesOf, randomProtocol, randomWorld } from "./random-world.ts";
import { isIpv6, words } from "./words.ts";
import { noOtherTiers, type OrderedPolicy, type World, type WorldPacket } from "./world.ts";

const failSafe = [22, 53, 546, 2380, 6443, 9091, 9443, 10_250];
/** Of so many packets the one is taken whose clauses decided least until now. */
const [aimed, stray] = [10, 2];

/** As `randomCases` of the node itself: packets that it receives and sends. */
export function* randomHostCases(seed: number, packetsOfCase = 20): Generator<RandomCase, never> {
  const chance = new Chance(seed);
  const counts = new ClauseCounts(hostClauses);
  for (;;) {
    const world = randomWorld(chance);
    const fallback = chance.is(50) ? [] : orderOfNodes(chance, world);
    // Those of the fallback decide where no other is.
    const policies = chance.is(fallback.length > 0 ? 70 : 5)
      ? []
      : ofNodes(chance, randomPolicies(chance, world, ["CiliumClusterwideNetworkPolicy"]));
    const others = { ...noOtherTiers, fallback };
    const rules = rulesOf(policies, others);
    const all = [...policies, ...fallback.map(({ policy }) => policy)];
    const packets = Array.from({ length: packetsOfCase }, () => {
      const tried = [
        ...Array.from({ length: aimed }, () => aimedPacket(chance, world, all)),
        ...Array.from({ length: stray }, () => packetOfNode(chance, world)),
      ].map((packet) => judgePacket(rules, world, packet));
      const rarest = tried.reduce((best, next) => (counts.least(next) < counts.least(best) ? next : best));
      counts.add(rarest);
      return rarest;
    });
    yield { world, policies, others, packets };
  }
}

/** Every clause that can decide of the node itself. */
export const hostClauses: readonly string[] = [
  "nobody",
  "no-default",
  "default-deny",
  "fail-safe",
  "upkeep",
  "fallback no-default",
  ...["allow", "deny", "order", "priority"].map((what) => `fallback ${what}`),
  ...["allow", "deny"].flatMap((list) => [
    list,
    ...["any", "pods", "nodes", "world-address", "any-address", "service", "services"].map(
      (peer) => `${list} peer ${peer}`,
    ),
    ...["all", "cluster", "remote-node", "world", "world-ipv4", "world-ipv6", "kube-apiserver"].map(
      (entity) => `${list} entity ${entity}`,
    ),
    ...["any", "one", "range", "icmp4", "icmp6", "protocol"].map((port) => `${list} port ${port}`),
  ]),
  ...["In", "NotIn", "Exists", "DoesNotExist"].map((operator) => `operator ${operator}`),
  "label of node",
  "except",
  ...["allow", "deny"].flatMap((verdict) =>
    ["CiliumClusterwideNetworkPolicy", "EBPFNetworkPolicy"].map((kind) => `${verdict} by ${kind}`),
  ),
  "default-deny by CiliumClusterwideNetworkPolicy",
];

/** The same policies, most of their statements about nodes. */
function ofNodes(chance: Chance, policies: readonly Policy[]): readonly Policy[] {
  return policies.map((policy) => ({
    ...policy,
    mode: "enforce",
    statements: policy.statements.map((statement) => {
      if (chance.is(30)) return statement;
      return { ...statement, subject: ofSomeNodes(chance, statement.subject) };
    }),
  }));
}

function ofSomeNodes(chance: Chance, subject: PolicySubject): PolicySubject {
  const zone = { on: "node", key: "zone", operator: "In", values: [chance.of(words.zones)] } as const;
  return { ...subject, selects: "nodes", where: chance.is(50) ? [] : [zone] };
}

/** Below those: the first rule that is met decides. An object is about nodes or about pods. */
function orderOfNodes(chance: Chance, world: World): readonly OrderedPolicy[] {
  return randomOrder(chance, world, "EBPFNetworkPolicy").map(({ policy, priority }) => {
    if (chance.is(20)) return { policy, priority };
    const origin = { object: policy.ref, path: "/spec/selector" };
    const subject = ofSomeNodes(chance, { selects: "nodes", where: [], origin });
    return { policy: { ...policy, statements: policy.statements.map((each) => ({ ...each, subject })) }, priority };
  });
}

const others = new WeakMap<World, readonly string[]>();

function peersOfNode(world: World): readonly string[] {
  let peers = others.get(world);
  if (peers === undefined) {
    const own = world.nodes.filter(({ isThisNode }) => isThisNode).flatMap(({ addresses }) => addresses);
    peers = addressesOf(world).filter((each) => !own.includes(each));
    others.set(world, peers);
  }
  return peers;
}

function aimedPacket(chance: Chance, world: World, policies: readonly Policy[]): WorldPacket {
  const statements = policies.flatMap((policy) =>
    policy.statements.filter(({ subject }) => subject.selects === "nodes"),
  );
  if (statements.length === 0) return packetOfNode(chance, world);
  const direction = chance.is(50) ? "ingress" : "egress";
  const rule = randomRule(chance, chance.of(statements)[direction]);
  const packet = rule && aimAt(chance, world, rule, { pod: "", direction, peers: peersOfNode(world) });
  return packet ?? packetOfNode(chance, world);
}

function packetOfNode(chance: Chance, world: World): WorldPacket {
  const peer = chance.of(peersOfNode(world));
  const direction = chance.is(50) ? "ingress" : "egress";
  const asked = randomProtocol(chance, isIpv6(peer));
  const port =
    chance.is(20) && typeof asked.protocol === "string" && !asked.protocol.startsWith("ICMP")
      ? chance.of(failSafe)
      : asked.port;
  return { pod: "", direction, peer, ...asked, port };
}
