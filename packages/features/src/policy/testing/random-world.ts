import type { Chance } from "./random.ts";
import type { World, WorldNode, WorldPacket, WorldPod, WorldPort } from "./world.ts";
import { randomNames, randomServices } from "./random-services.ts";
import { isIpv6, words } from "./words.ts";

const worldAddresses = [
  "10.0.0.200",
  "10.1.2.3",
  "10.96.0.5",
  "10.96.255.255",
  "192.0.2.1",
  "203.0.113.9",
  "203.0.113.10",
  "2001:db8::1",
  "2001:db8::ffff",
  "fe80::c8",
  "fd00::c8",
] as const;

const transports = ["TCP", "UDP", "SCTP"] as const;

/** `isOnePodHere`: one pod of this node, the others are elsewhere. */
export function randomWorld(chance: Chance, isOnePodHere = false): World {
  const namespaceLabels = new Map(
    words.namespaces.map((name) => [
      name,
      { "kubernetes.io/metadata.name": name, ...someLabel(chance, "env", words.environments) },
    ]),
  );
  const unknown = new Set(chance.some(words.namespaces, 50));
  const podPlaces = Array.from({ length: 3 + chance.below(6) }, (_, at) => at);
  const pods = podPlaces.map((at): WorldPod => {
    const namespace = chance.of(words.namespaces);
    return {
      name: `${namespace}/p${at}`,
      namespace,
      labels: { ...someLabel(chance, "app", words.apps), ...someLabel(chance, "tier", words.tiers) },
      ...(unknown.has(namespace)
        ? { namespaceLabels: { "kubernetes.io/metadata.name": namespace }, isNamespaceUnknown: true }
        : { namespaceLabels: namespaceLabels.get(namespace) ?? {} }),
      serviceAccount: chance.of(words.serviceAccounts),
      namedPorts: randomPorts(chance),
      addresses: ofFamilies(chance, `10.0.0.${at + 10}`, `fd00::${(at + 10).toString(16)}`),
      isOnThisNode: at === 0 || (!isOnePodHere && chance.is(50)),
    };
  });
  const nodes = ["here", "there", "yonder"].map((name, at): WorldNode => ({
    name,
    labels: { ...someLabel(chance, "zone", words.zones), ...someLabel(chance, "tier", words.tiers) },
    addresses: [`172.16.0.${at + 1}`, `fd10::${at + 1}`],
    isThisNode: at === 0,
  }));
  const localHost = chance.is(50) ? "auto" : "never";
  const world: World = { pods, nodes, localHost, names: randomNames(chance, pods, worldAddresses) };
  return { ...world, services: randomServices(chance, world) };
}

function someLabel(chance: Chance, key: string, values: readonly string[]): Readonly<Record<string, string>> {
  return chance.is(75) ? { [key]: chance.of(values) } : {};
}

/** Names stand for one port of each protocol, as the API server has it. */
function randomPorts(chance: Chance): readonly WorldPort[] {
  return transports.flatMap((protocol) =>
    chance.some(words.portNames, 60).map((name) => ({ name, protocol, port: chance.of(words.ports) })),
  );
}

function ofFamilies(chance: Chance, ipv4: string, ipv6: string): readonly string[] {
  const choice = chance.below(10);
  return choice < 2 ? [ipv6] : choice < 4 ? [ipv4] : [ipv4, ipv6];
}

const knownPeers = new WeakMap<WorldPod, readonly string[]>();

/** Addresses that a pod may exchange packets with. */
export function peersOf(world: World, pod: WorldPod): readonly string[] {
  const known = knownPeers.get(pod);
  if (known !== undefined) return known;
  const { addresses } = pod;
  const families = new Set(addresses.map(isIpv6));
  const peers = addressesOf(world).filter((each) => families.has(isIpv6(each)) && !addresses.includes(each));
  knownPeers.set(pod, peers);
  return peers;
}

/** All addresses that packets may come from and go to. */
export function addressesOf(world: World): readonly string[] {
  const services = (world.services ?? []).flatMap((each) => [
    ...each.clusterAddresses,
    ...each.externalAddresses,
    ...each.closedAddresses,
  ]);
  return [...world.pods, ...world.nodes].flatMap(({ addresses }) => addresses).concat(worldAddresses, services);
}

export function randomPacket(chance: Chance, world: World): WorldPacket {
  const pod = chance.of(world.pods.filter(({ isOnThisNode }) => isOnThisNode));
  const peer = chance.of(peersOf(world, pod));
  const direction = chance.is(50) ? "ingress" : "egress";
  return withQuestion(chance, { pod: pod.name, direction, peer, ...randomProtocol(chance, isIpv6(peer)) });
}

/** What is sent to a port of DNS asks for a name, mostly. */
export function withQuestion(chance: Chance, packet: WorldPacket): WorldPacket {
  const asks = packet.direction === "egress" && packet.protocol === "UDP" && packet.port === 53 && chance.is(95);
  return asks ? { ...packet, asks: chance.of(words.names) } : packet;
}

export function randomProtocol(chance: Chance, isOfIpv6: boolean): Pick<WorldPacket, "protocol" | "port"> {
  if (chance.is(10)) return { protocol: chance.of(words.otherProtocols), port: 0 };
  if (chance.is(15))
    return isOfIpv6
      ? { protocol: "ICMPv6", port: chance.of(words.icmpv6Types) }
      : { protocol: "ICMP", port: chance.of(words.icmpTypes) };
  return { protocol: chance.of(transports), port: chance.of(words.ports) };
}
