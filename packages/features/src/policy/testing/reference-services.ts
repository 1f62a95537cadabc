import { bitsOf } from "./reference-addresses.ts";
import type { World, WorldPacket, WorldService } from "./world.ts";

/* Services as Kubernetes means them: what is sent to one is for one of those behind it. */

/** Whether the address is one by which such a Service is reached, or of somebody behind it, ready or not. */
export function hasAddressOf(world: World, address: string, isMeant: (service: WorldService) => boolean): boolean {
  const bits = bitsOf(address);
  return (world.services ?? []).filter(isMeant).some((service) => {
    const { clusterAddresses, externalAddresses, closedAddresses, backends } = service;
    const all = [clusterAddresses, externalAddresses, closedAddresses, backends.map((each) => each.address)].flat();
    return all.some((each) => bitsOf(each) === bits);
  });
}

export interface Place {
  readonly address: string;
  readonly port: number;
}

/** Where a packet to a Service may go; `undefined`: it is for none. */
export function placesBehind(world: World, packet: WorldPacket): readonly Place[] | undefined {
  if (packet.direction !== "egress") return undefined;
  const services = (world.services ?? []).toSorted((a, b) =>
    `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1,
  );
  for (const service of services) {
    for (const port of service.ports) {
      if (port.protocol !== packet.protocol) continue;
      const scope = scopeOf(world, service, port, packet);
      if (scope !== undefined) return scope === "closed" ? [] : chosen(world, service, port, scope, packet);
    }
  }
  return undefined;
}

type Port = WorldService["ports"][number];

function scopeOf(world: World, service: WorldService, port: Port, { peer, port: number }: WorldPacket) {
  const isOneOf = (addresses: readonly string[]): boolean => addresses.some((each) => bitsOf(each) === bitsOf(peer));
  if (number === port.port) {
    if (isOneOf(service.clusterAddresses)) return "cluster";
    if (isOneOf(service.externalAddresses)) return "external";
    if (isOneOf(service.closedAddresses)) return "closed";
  }
  const own = world.nodes.filter(({ isThisNode }) => isThisNode).flatMap(({ addresses }) => addresses);
  return number === port.nodePort && isOneOf(own) ? "external" : undefined;
}

/** Of those with the port, in the same family: ready ones, else those that still serve; of this node where only those are meant; never the pod itself. */
function chosen(
  world: World,
  { backends, isLocalOnly }: WorldService,
  { name }: Port,
  scope: "cluster" | "external",
  { pod, peer }: WorldPacket,
): readonly Place[] {
  const here = world.nodes.find(({ isThisNode }) => isThisNode)?.name;
  const family = bitsOf(peer).length;
  const own = world.pods.find((each) => each.name === pod)?.addresses ?? [];
  const meant = backends.filter(
    ({ address, ports, node }) =>
      bitsOf(address).length === family &&
      ports[name] !== undefined &&
      (!(isLocalOnly && scope === "cluster") || node === here),
  );
  const ready = meant.filter(({ isReady }) => isReady);
  const usable = ready.length > 0 ? ready : meant.filter(({ isServing }) => isServing);
  return usable
    .filter(({ address }) => !own.some((each) => bitsOf(each) === bitsOf(address)))
    .map(({ address, ports }) => ({ address, port: ports[name] ?? 0 }));
}
