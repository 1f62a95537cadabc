import type { Chance } from "./random.ts";
import { isIpv6, words } from "./words.ts";
import type { World, WorldBackend, WorldName, WorldPacket, WorldPod, WorldService } from "./world.ts";

/**
 * What pods of this node have learnt: of addresses of the world, and of those that are none. Of several names of one
 * server of DNS any one decides what may be asked: those of the world have one each.
 */
export function randomNames(
  chance: Chance,
  pods: readonly WorldPod[],
  worldAddresses: readonly string[],
): readonly WorldName[] {
  const addresses = [...worldAddresses, ...pods.flatMap((pod) => pod.addresses)];
  return pods
    .filter(({ isOnThisNode }) => isOnThisNode)
    .flatMap((pod) =>
      chance
        .some(addresses, 60)
        .flatMap((address) =>
          distinct(chance.list(1, worldAddresses.includes(address) ? 1 : 3, () => chance.of(words.names))).map(
            (name) => ({ pod: pod.name, address, name }),
          ),
        ),
    );
}

function distinct(names: readonly string[]): readonly string[] {
  return [...new Set(names)];
}

const portNames = ["web", "more"] as const;

export function randomServices(chance: Chance, world: World): readonly WorldService[] {
  return Array.from({ length: chance.below(5) }, (_, at): WorldService => {
    const isApi = at === 0;
    const ports = portNames.slice(0, 1 + chance.below(2)).map((name, number) => ({
      name,
      protocol: chance.of(["TCP", "UDP"] as const),
      port: chance.of(words.ports),
      nodePort: chance.is(40) ? 30_000 + at * 10 + number : undefined,
    }));
    const distinctPorts = ports.filter(
      ({ port, protocol }, number) =>
        ports.findIndex((each) => each.port === port && each.protocol === protocol) === number,
    );
    return {
      namespace: isApi ? "default" : chance.of(words.namespaces),
      name: isApi ? "kubernetes" : `s${at}`,
      labels: chance.is(75) ? { app: chance.of(words.apps) } : {},
      clusterAddresses: [`10.96.0.${at + 10}`, `fd96::${at + 10}`],
      externalAddresses: chance.is(40) ? [`192.0.2.${at + 100}`, `fd97::${at + 10}`] : [],
      closedAddresses: chance.is(30) ? [`192.0.2.${at + 150}`] : [],
      ports: distinctPorts,
      isLocalOnly: chance.is(25),
      backends: chance.list(0, 4, () => randomBackend(chance, world)),
    };
  });
}

function randomBackend(chance: Chance, { pods, nodes }: World): WorldBackend {
  const addresses = chance.is(70)
    ? chance.of(pods).addresses
    : [chance.of(["203.0.113.9", "203.0.113.10", "2001:db8::1", nodes[1]?.addresses[0] ?? "203.0.113.9"])];
  const isReady = chance.is(70);
  return {
    address: chance.of(addresses),
    ports: Object.fromEntries(chance.some(portNames, 90).map((name) => [name, chance.of(words.ports)])),
    isReady,
    isServing: isReady || chance.is(60),
    node: chance.of(nodes).name,
  };
}

/** To a port of a Service; `undefined` where there is none that the pod could send to. */
export function servicePacket(chance: Chance, world: World): WorldPacket | undefined {
  const pod = chance.of(world.pods.filter(({ isOnThisNode }) => isOnThisNode));
  const own = world.nodes.find(({ isThisNode }) => isThisNode)?.addresses ?? [];
  const places = (world.services ?? []).flatMap((service) =>
    service.ports.flatMap(({ protocol, port, nodePort }) => [
      ...[service.clusterAddresses, service.externalAddresses, service.closedAddresses]
        .flat()
        .map((peer) => ({ peer, protocol, port })),
      ...(nodePort === undefined ? [] : own.map((peer) => ({ peer, protocol, port: nodePort }))),
    ]),
  );
  const families = new Set(pod.addresses.map(isIpv6));
  const fitting = places.filter(({ peer }) => families.has(isIpv6(peer)));
  return fitting.length === 0 ? undefined : { pod: pod.name, direction: "egress", ...chance.of(fitting) };
}
