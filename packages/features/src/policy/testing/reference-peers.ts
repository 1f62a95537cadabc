import type { Entity, Peer } from "../policy.ts";
import { bitsOf, bitsOfBytes, isWithin } from "./reference-addresses.ts";
import { meetsNode, meetsPod, meetsService } from "./reference-labels.ts";
import { isCalled } from "./reference-names.ts";
import { hasAddressOf } from "./reference-services.ts";
import type { World, WorldNode, WorldPacket, WorldPod } from "./world.ts";

/** One address, and what has it. Without pod and node it is of the world outside. */
export interface End {
  readonly address: string;
  readonly pod: WorldPod | undefined;
  readonly node: WorldNode | undefined;
  /** By which the pod that sends to it knows it. */
  readonly names: readonly string[];
}

const ends = new WeakMap<World, ReadonlyMap<string, End>>();

/** What has the address, whatever it is written like. */
export function findEnd(world: World, address: string, from?: Pick<WorldPacket, "pod" | "direction">): End {
  const end = endOf(world, address);
  if (from?.direction !== "egress" || world.names === undefined) return end;
  const known = world.names.filter((each) => each.pod === from.pod && bitsOf(each.address) === bitsOf(address));
  return known.length === 0 ? end : { ...end, names: known.map(({ name }) => name) };
}

function endOf(world: World, address: string): End {
  let known = ends.get(world);
  if (known === undefined) {
    const owners = [
      ...world.nodes.map((node) => ({ addresses: node.addresses, pod: undefined, node })),
      ...world.pods.map((pod) => ({ addresses: pod.addresses, pod, node: undefined })),
    ];
    known = new Map(
      owners.flatMap(({ addresses, pod, node }) =>
        addresses.map((each) => [bitsOf(each), { address: each, pod, node, names: [] }] as const),
      ),
    );
    ends.set(world, known);
  }
  return known.get(bitsOf(address)) ?? { address, pod: undefined, node: undefined, names: [] };
}

export function isPeer(peer: Peer, end: End, world: World, isSure = true): boolean {
  // It may be any of them: whom rules that deny mean, and no rule that allows.
  const ends = isOfLink(end) && !isSure ? everyEnd(world, end) : [end];
  return ends.some((each) => isPeerAt(peer, each, world, isSure));
}

function everyEnd(world: World, end: End): readonly End[] {
  return [end, ...world.pods.map((pod) => ({ ...end, pod })), ...world.nodes.map((node) => ({ ...end, node }))];
}

/** Of a pod, a node or somebody else beside them: nobody can tell by it. */
export function isOfLink({ address }: End): boolean {
  return bitsOf(address).startsWith(linkBits);
}

const linkBits = "1111111010";

function isPeerAt(peer: Peer, end: End, world: World, isSure: boolean): boolean {
  const mayBeWorld = !isSure || !isOfLink(end);
  switch (peer.peer) {
    case "pods":
      return (
        end.pod !== undefined && peer.where.every((requirement) => meetsPod(requirement, end.pod as WorldPod, isSure))
      );
    case "nodes":
      return end.node !== undefined && peer.where.every((requirement) => meetsNode(requirement, end.node as WorldNode));
    case "entity":
      if (peer.entity === "kube-apiserver")
        return hasAddressOf(
          world,
          end.address,
          ({ namespace, name }) => namespace === "default" && name === "kubernetes",
        );
      return isEntity(peer.entity, end) && (peer.entity === "all" || mayBeWorld);
    case "addresses": {
      const isWritten = bitsOfBytes(peer.prefix.bytes).slice(0, peer.prefix.length).startsWith(linkBits);
      const isMeant = peer.matches === "everything" || isEntity("world", end);
      return (
        (mayBeWorld || isWritten) &&
        isMeant &&
        isWithin(end.address, peer.prefix) &&
        !peer.except.some((each) => isWithin(end.address, each))
      );
    }
    case "service":
      return hasAddressOf(world, end.address, (each) => each.namespace === peer.namespace && each.name === peer.name);
    case "services":
      return hasAddressOf(
        world,
        end.address,
        (each) =>
          (peer.namespace === undefined || each.namespace === peer.namespace) &&
          peer.where.every((requirement) => meetsService(requirement, each)),
      );
    case "name":
      return mayBeWorld && isEntity("world", end) && end.names.some((name) => isCalled(peer.name, name));
  }
}

function isEntity(entity: Entity, { address, pod, node }: End): boolean {
  const isWorld = pod === undefined && node === undefined;
  switch (entity) {
    case "all":
      return true;
    case "world":
      return isWorld;
    case "world-ipv4":
      return isWorld && !address.includes(":");
    case "world-ipv6":
      return isWorld && address.includes(":");
    case "cluster":
      return !isWorld;
    case "host":
      return node?.isThisNode === true;
    case "remote-node":
      return node?.isThisNode === false;
    case "cluster-mesh":
    case "health":
    case "ingress":
    case "init":
    case "kube-apiserver":
    case "none":
    case "unmanaged":
      return false;
  }
}
