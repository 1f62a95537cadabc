import type { Policy, PolicyDirection, PolicyRule, PolicyStatement } from "../policy.ts";
import type { OrderedPolicy, OtherTiers, World, WorldPacket } from "./world.ts";

/** One packet that is judged in two ways. */
export interface Counterexample {
  readonly world: World;
  readonly policies: readonly Policy[];
  readonly others: OtherTiers;
  readonly packet: WorldPacket;
}

/** What is left when nothing more can be dropped such that `disagrees` still holds. */
export function minimise(found: Counterexample, disagrees: (smaller: Counterexample) => boolean): Counterexample {
  const isStill = (smaller: Counterexample): boolean => {
    try {
      return disagrees(smaller);
    } catch {
      return false;
    }
  };
  let best = found;
  for (;;) {
    const smaller = smallerOnes(best).find(isStill);
    if (smaller === undefined) return best;
    best = smaller;
  }
}

/** Each with one thing less; large things first. */
function* smallerOnes(found: Counterexample): Generator<Counterexample> {
  const { world, policies, others, packet } = found;
  for (const fewer of smallerLists(policies, smallerPolicies)) yield { ...found, policies: fewer };
  const lesser = ({ policy, priority }: OrderedPolicy): readonly OrderedPolicy[] =>
    smallerPolicies(policy).map((fewer) => ({ policy: fewer, priority }));
  for (const tier of ["fallback", "container"] as const)
    for (const fewer of smallerLists(others[tier], lesser)) yield { ...found, others: { ...others, [tier]: fewer } };
  for (const l4 of smallerLists(others.l4, smallerPolicies)) yield { ...found, others: { ...others, l4 } };
  const pods = smallerLists(world.pods, ({ labels, ...pod }) => [
    ...smallerRecords(labels).map((fewer) => ({ ...pod, labels: fewer })),
    ...smallerLists(pod.namedPorts).map((namedPorts) => ({ ...pod, labels, namedPorts })),
    ...smallerLists(pod.addresses).map((addresses) => ({ ...pod, labels, addresses })),
  ]);
  for (const fewer of pods) {
    if (fewer.some(({ name, isOnThisNode }) => name === packet.pod && isOnThisNode))
      yield { ...found, world: { ...world, pods: fewer } };
  }
  const nodes = smallerLists(world.nodes, ({ labels, ...node }) =>
    smallerRecords(labels).map((fewer) => ({ ...node, labels: fewer })),
  );
  for (const fewer of nodes) yield { ...found, world: { ...world, nodes: fewer } };
}

function smallerPolicies(policy: Policy): readonly Policy[] {
  return smallerLists(policy.statements, smallerStatements).map((statements) => ({ ...policy, statements }));
}

function smallerStatements(statement: PolicyStatement): readonly PolicyStatement[] {
  return [
    ...smallerDirections(statement.ingress).map((ingress) => ({ ...statement, ingress })),
    ...smallerDirections(statement.egress).map((egress) => ({ ...statement, egress })),
    ...smallerLists(statement.subject.where).map((where) => ({
      ...statement,
      subject: { ...statement.subject, where },
    })),
  ];
}

function smallerDirections(direction: PolicyDirection): readonly PolicyDirection[] {
  return [
    ...(direction.isDefaultDeny ? [{ ...direction, isDefaultDeny: false }] : []),
    ...smallerLists(direction.allow, smallerRules).map((allow) => ({ ...direction, allow })),
    ...smallerLists(direction.deny, smallerRules).map((deny) => ({ ...direction, deny })),
  ];
}

function smallerRules(rule: PolicyRule): readonly PolicyRule[] {
  const { peers, ports } = rule;
  const fewerPeers =
    peers === "any"
      ? []
      : smallerLists(peers, (peer) => {
          if ("where" in peer) return smallerLists(peer.where).map((where) => ({ ...peer, where }));
          if (peer.peer !== "addresses") return [];
          return smallerLists(peer.except).map((except) => ({ ...peer, except }));
        });
  return [
    ...(peers === "any" ? [] : [{ ...rule, peers: "any" as const }]),
    ...(ports === "any" ? [] : [{ ...rule, ports: "any" as const }]),
    ...fewerPeers.map((fewer) => ({ ...rule, peers: fewer })),
    ...(ports === "any" ? [] : smallerLists(ports).map((fewer) => ({ ...rule, ports: fewer }))),
  ];
}

/** Without one item, or with one that is smaller. */
function smallerLists<T>(list: readonly T[], smaller: (item: T) => readonly T[] = () => []): readonly (readonly T[])[] {
  return [
    ...list.map((_, at) => list.toSpliced(at, 1)),
    ...list.flatMap((item, at) => smaller(item).map((less) => list.with(at, less))),
  ];
}

function smallerRecords(record: Readonly<Record<string, string>>): readonly Readonly<Record<string, string>>[] {
  const entries = Object.entries(record);
  return entries.map((_, at) => Object.fromEntries(entries.toSpliced(at, 1)));
}
