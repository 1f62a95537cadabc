import type { Opening, PolicyEndpoint, TableQuestion } from "@bpfleet/features";
import { renderAddress, type EditPeer, type EditTraffic } from "@bpfleet/kinds";
import type { KnownPeer } from "./who-is.ts";

/** A packet that an interface was asked about. */
export interface DroppedPacket {
  /** Of the pod's interface, or what stands for the node itself. */
  readonly ifindex: number;
  /** As the pod, or the node, sees it. */
  readonly direction: "ingress" | "egress";
  readonly opening: Opening;
  /** Whose address it was judged by, as text, where the kernel was asked. */
  readonly judgedPeer?: string | undefined;
  /** The node itself is asked. */
  readonly isOfNode?: boolean | undefined;
}

/** At interfaces that are no pod's, the node itself is asked, for whom directions are the other way round. */
export function packetAt(packet: DroppedPacket, endpoints: readonly PolicyEndpoint[] = []): DroppedPacket {
  const node = endpoints.find(({ isNode }) => isNode === true);
  if (node === undefined || endpoints.some(({ ifindex }) => ifindex === packet.ifindex)) return packet;
  return {
    ...packet,
    isOfNode: true,
    ifindex: node.ifindex,
    direction: packet.direction === "ingress" ? "egress" : "ingress",
  };
}

export const protocolNumbers = { 6: "TCP", 17: "UDP", 132: "SCTP" } as const;

export function questionOf({ ifindex, direction, opening }: DroppedPacket): TableQuestion {
  const peer = direction === "ingress" ? opening.source : opening.destination;
  return { ifindex, direction, peer: mapped(peer), protocol: opening.protocol, port: opening.port ?? 0 };
}

export function mapped(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 4) return bytes;
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes);
}

export function trafficOf({ protocol, port }: Opening): EditTraffic | undefined {
  if (port === undefined) return undefined;
  if (protocol === 1 || protocol === 58) return { protocol: "ICMP", family: protocol === 1 ? 4 : 6, type: port };
  const name = protocolNumbers[protocol as keyof typeof protocolNumbers] as "TCP" | "UDP" | "SCTP" | undefined;
  return name === undefined ? undefined : { protocol: name, port };
}

export function peerOf({ direction, opening }: DroppedPacket, who: ReadonlyMap<string, KnownPeer>): EditPeer {
  const bytes = peerBytes({ direction, opening });
  const text = renderAddress(bytes);
  const known = who.get(text);
  const cidr = `${text}/${bytes.length * 8}`;
  if (known?.is === "pod") return { is: "pod", namespace: known.namespace, labels: known.labels, cidr };
  return { is: known?.is ?? "world", cidr };
}

export function peerBytes({ direction, opening }: Pick<DroppedPacket, "direction" | "opening">): Uint8Array {
  return direction === "ingress" ? opening.source : opening.destination;
}
