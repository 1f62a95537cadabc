import type { Prefix } from "../../filter/intent.ts";
import type { Policy, PolicyDirection, PolicyRule, PolicyStatement, PortMatch } from "../policy.ts";
import type { OrderedPolicy, OtherTiers, World, WorldPacket, WorldService } from "./world.ts";

/** One packet that is judged in two ways. */
export interface Counterexample {
  readonly world: World;
  readonly policies: readonly Policy[];
  readonly others: OtherTiers;
  readonly packet: WorldPacket;
}

/** What is left when nothing more can be dropped such that `disagrees` still holds. */
export async function minimise(
  found: Counterexample,
  disagrees: (smaller: Counterexample) => boolean | Promise<boolean>,
): Promise<Counterexample> {
  const isStill = async (smaller: Counterexample): Promise<boolean> => {
    try {
      return await disagrees(smaller);
    } catch {
      return false;
    }
  };
  let best = found;
  for (;;) {
    let less: Counterexample | undefined;
    for (const smaller of smallerOnes(best)) {
      if (!(await isStill(smaller))) continue;
      less = smaller;
      break;
    }
    if (less === undefined) return best;
    best = less;
  }
}

/** Each with one thing less; large things first. */
function* smallerOnes(found: Counterexample): Generator<Counterexample> {
  const { policies, others } = found;
  for (const fewer of smallerLists(policies, smallerPolicies)) yield { ...found, policies: fewer };
  if (policies.length > 1)
    for (const at of policies.keys())
      yield {
        ...found,
        policies: policies.toSpliced(at, 1).map((policy) => isolating(policy, found.packet.direction)),
      };
  const lesser = ({ policy, priority }: OrderedPolicy): readonly OrderedPolicy[] =>
    smallerPolicies(policy).map((fewer) => ({ policy: fewer, priority }));
  for (const tier of ["fallback", "container"] as const)
    for (const fewer of smallerLists(others[tier], lesser)) yield { ...found, others: { ...others, [tier]: fewer } };
  for (const l4 of smallerLists(others.l4, smallerPolicies)) yield { ...found, others: { ...others, l4 } };
  for (const world of smallerWorlds(found)) yield { ...found, world };
  for (const packet of smallerPackets(found)) yield { ...found, packet };
}

function* smallerWorlds({ world, packet }: Counterexample): Generator<World> {
  const { services = [], names = [] } = world;
  for (const fewer of smallerLists(services, smallerServices)) yield { ...world, services: fewer };
  for (const fewer of smallerLists(names)) yield { ...world, names: fewer };
  const pods = smallerLists(world.pods, ({ labels, isNamespaceUnknown, ...pod }) => [
    ...smallerRecords(labels).map((fewer) => ({ ...pod, isNamespaceUnknown, labels: fewer })),
    ...smallerLists(pod.namedPorts).map((namedPorts) => ({ ...pod, isNamespaceUnknown, labels, namedPorts })),
    ...smallerLists(pod.addresses).map((addresses) => ({ ...pod, isNamespaceUnknown, labels, addresses })),
    ...(isNamespaceUnknown === true ? [{ ...pod, labels }] : []),
  ]);
  for (const fewer of pods) {
    if (packet.pod === "" || fewer.some(({ name, isOnThisNode }) => name === packet.pod && isOnThisNode))
      yield { ...world, pods: fewer };
  }
  const nodes = smallerLists(world.nodes, ({ labels, ...node }) =>
    smallerRecords(labels).map((fewer) => ({ ...node, labels: fewer })),
  );
  for (const fewer of nodes) {
    if (packet.pod !== "" || fewer.some(({ isThisNode }) => isThisNode)) yield { ...world, nodes: fewer };
  }
  if (world.localHost === "auto") yield { ...world, localHost: "never" };
}

function smallerServices(service: WorldService): readonly WorldService[] {
  return [
    ...smallerLists(service.ports).map((ports) => ({ ...service, ports })),
    ...smallerLists(service.backends).map((backends) => ({ ...service, backends })),
    ...smallerLists(service.clusterAddresses).map((clusterAddresses) => ({ ...service, clusterAddresses })),
    ...smallerLists(service.externalAddresses).map((externalAddresses) => ({ ...service, externalAddresses })),
    ...smallerLists(service.closedAddresses).map((closedAddresses) => ({ ...service, closedAddresses })),
    ...smallerRecords(service.labels).map((labels) => ({ ...service, labels })),
  ];
}

/** The plainest first: none of them leads back to one before it. */
const plainProtocols: readonly WorldPacket["protocol"][] = ["TCP", "UDP", "SCTP", "ICMP", "ICMPv6"];
const plainPeers = ["192.0.2.1", "2001:db8::1"];

function* smallerPackets({ packet, policies }: Counterexample): Generator<WorldPacket> {
  const { asks, ...silent } = packet;
  if (asks !== undefined) yield silent;
  const place = <T>(list: readonly T[], item: T): number => (list.includes(item) ? list.indexOf(item) : list.length);
  for (const peer of plainPeers.slice(0, place(plainPeers, packet.peer))) yield { ...packet, peer };
  for (const protocol of plainProtocols.slice(0, place(plainProtocols, packet.protocol))) yield { ...packet, protocol };
  const edges = policies.flatMap(({ statements }) =>
    statements.flatMap(({ ingress, egress }) =>
      [ingress.allow, ingress.deny, egress.allow, egress.deny]
        .flat()
        .flatMap(({ ports }) =>
          ports === "any" ? [] : ports.flatMap((port) => (port.match === "ports" ? [port.from, port.to + 1] : [])),
        ),
    ),
  );
  for (const port of [1, packet.port >> 1, ...edges.toSorted((a, b) => a - b)])
    if (port >= 1 && port < packet.port) yield { ...packet, port };
}

/** Where another one isolated whom this one allows something. */
function isolating(policy: Policy, direction: WorldPacket["direction"]): Policy {
  const statements = policy.statements.map((statement) => ({
    ...statement,
    [direction]: { ...statement[direction], isDefaultDeny: true },
  }));
  return { ...policy, statements };
}

function smallerPolicies(policy: Policy): readonly Policy[] {
  return [
    ...smallerLists(policy.statements, smallerStatements).map((statements) => ({ ...policy, statements })),
    ...(policy.onRevoke === "keep" ? [{ ...policy, onRevoke: "cut" as const }] : []),
  ];
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
          return [
            ...smallerLists(peer.except).map((except) => ({ ...peer, except })),
            ...(peer.prefix.length === 0 ? [] : [{ ...peer, prefix: everybody(peer.prefix) }]),
          ];
        });
  return [
    ...(peers === "any" ? [] : [{ ...rule, peers: "any" as const }]),
    ...(ports === "any" ? [] : [{ ...rule, ports: "any" as const }]),
    ...fewerPeers.map((fewer) => ({ ...rule, peers: fewer })),
    ...(ports === "any" ? [] : smallerLists(ports, smallerPorts).map((fewer) => ({ ...rule, ports: fewer }))),
  ];
}

function smallerPorts(port: PortMatch): readonly PortMatch[] {
  if (port.match === "named-port" && port.dns !== undefined) return [{ ...port, dns: undefined }];
  if (port.match !== "ports") return [];
  return [
    ...(port.dns === undefined
      ? []
      : [{ ...port, dns: undefined }, ...smallerLists(port.dns).map((dns) => ({ ...port, dns }))]),
    ...(port.from === port.to
      ? []
      : [
          { ...port, to: port.from },
          { ...port, from: port.to },
        ]),
  ];
}

function everybody(prefix: Prefix): Prefix {
  return { ...prefix, bytes: new Uint8Array(prefix.bytes.length), length: 0 };
}

/** Without half of the items, without one, or with one that is smaller. */
function smallerLists<T>(list: readonly T[], smaller: (item: T) => readonly T[] = () => []): readonly (readonly T[])[] {
  const half = list.length >> 1;
  return [
    ...(half > 1 ? [list.slice(0, half), list.slice(half)] : []),
    ...list.map((_, at) => list.toSpliced(at, 1)),
    ...list.flatMap((item, at) => smaller(item).map((less) => list.with(at, less))),
  ];
}

function smallerRecords(record: Readonly<Record<string, string>>): readonly Readonly<Record<string, string>>[] {
  const entries = Object.entries(record);
  return entries.map((_, at) => Object.fromEntries(entries.toSpliced(at, 1)));
}
