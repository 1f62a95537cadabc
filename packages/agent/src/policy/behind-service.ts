import { findService, type Opening, type PolicyFeatureIntent, type ServiceBackend } from "@bpfleet/features";
import type { NodeFacts } from "@bpfleet/kernel";
import { parsePrefix, renderAddress } from "@bpfleet/kinds";
import type { DroppedPacket } from "./dropped-packet.ts";

/** The Service that stands between, and whom its packet is sent to. */
export interface BehindService {
  /** As people call it: `Service shop/web`. */
  readonly service: string;
  /** `10.96.0.7:80` */
  readonly at: string;
  /** `10.0.0.1:8080` */
  readonly backend: string;
}

export interface JudgedPacket {
  /** With the back end in place of the Service. */
  readonly packet: DroppedPacket;
  readonly behind?: BehindService | undefined;
  /** Openings to the Service's other back ends. */
  readonly others: readonly Opening[];
}

/** Whom policies judge a packet by; or why that is not known. */
export function judgedPacket(
  packet: DroppedPacket,
  intents: readonly PolicyFeatureIntent[],
  facts: NodeFacts,
): JudgedPacket | { readonly why: string } {
  const { opening, direction, isOfNode, judgedPeer } = packet;
  const asIs = { packet, others: [] };
  if (direction === "ingress" || isOfNode === true || opening.port === undefined) return asIs;
  const judged = judgedPeer === undefined ? undefined : parsePrefix(judgedPeer);
  const address = judged?.ok === true ? renderAddress(judged.prefix.bytes) : undefined;
  const destination = renderAddress(opening.destination);
  const found = findService(intents, facts, opening);
  if (found === undefined) {
    if (address === undefined || address === destination) return asIs;
    return { why: `it is sent to ${address} instead, by a Service that is not known; ${mustName}` };
  }
  const { name, backends } = found;
  const chosen = address === undefined ? backends : backends.filter((each) => renderAddress(each.address) === address);
  const [backend, ...more] = chosen;
  if (backend === undefined && address === destination) return asIs;
  const service = `Service ${name}`;
  if (backend === undefined || more.length > 0) {
    const what =
      address === undefined ? "to which of its back ends is not known" : `at which port of ${address} is not known`;
    return { why: `it is sent on by ${service}, ${what}; ${mustName}` };
  }
  return {
    packet: { ...packet, opening: openingTo(opening, backend) },
    behind: { service, at: renderPlace(opening.destination, opening.port), backend: placeOf(backend) },
    others: backends.filter((each) => each !== backend).map((each) => openingTo(opening, each)),
  };
}

const mustName = "a rule must name the back end and its targetPort";

function openingTo(opening: Opening, { address, port }: ServiceBackend): Opening {
  return { ...opening, destination: address, port };
}

function placeOf({ address, port }: ServiceBackend): string {
  return renderPlace(address, port);
}

/** `10.0.0.1:8080`, `[fd00::1]:8080` */
export function renderPlace(address: Uint8Array, port: number | undefined): string {
  const text = renderAddress(address);
  return `${text.includes(":") ? `[${text}]` : text}:${port ?? 0}`;
}
