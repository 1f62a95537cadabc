import type { NodeFacts } from "@bpfleet/kernel";
import { renderAddress } from "../../filter/address.ts";
import { parseAddressKey } from "../compile/address-key.ts";
import type { BackendsIntent, HostIntent, PolicyFeatureIntent, ServiceIntent } from "../intent.ts";
import type { Opening } from "../read-opening.ts";
import { idOfPort } from "./digest-services.ts";
import { resolveServices } from "./resolve-services.ts";
import { packPlaces, placeWords, type Places } from "./service-table.ts";

/** A Service that stands between a client on this node and whom it sends to. */
export interface FoundService {
  /** With its namespace: `shop/web`. */
  readonly name: string;
  /** Those that clients on this node may get. */
  readonly backends: readonly ServiceBackend[];
}

export interface ServiceBackend {
  /** 4 or 16 bytes in network order. */
  readonly address: Uint8Array;
  readonly port: number;
}

const protocols = { TCP: 6, UDP: 17, SCTP: 132 } as const;

/** Whose address and port a packet is for; `undefined` where it is for no Service. */
export function findService(
  intents: readonly PolicyFeatureIntent[],
  facts: NodeFacts,
  { destination, protocol, port }: Opening,
): FoundService | undefined {
  const key = parseAddressKey(renderAddress(destination));
  if (key === undefined || port === undefined) return undefined;
  const services: ServiceIntent[] = [];
  const slices: BackendsIntent[] = [];
  const hosts: HostIntent[] = [];
  for (const intent of intents) {
    if (intent.about === "service" && mayBe(intent, protocol, port)) services.push(intent);
    else if (intent.about === "backends") slices.push(intent);
    else if (intent.about === "host") hosts.push(intent);
  }
  if (services.length === 0) return undefined;
  const names = new Set(services.map(({ namespace, name }) => `${namespace}/${name}`));
  const backends = slices.filter(({ namespace, service }) => names.has(`${namespace}/${service}`));
  const place = packPlaces([{ key, port }]);
  const { ports } = resolveServices({ services, backends, hosts }, facts);
  const found = ports.find((each) => each.protocol === protocol && holds(each.places, place));
  if (found === undefined) return undefined;
  return { name: nameOf(found.id, services, key[0] ?? ""), backends: unpack(found.backends) };
}

function mayBe({ ports }: ServiceIntent, protocol: number, number: number): boolean {
  return ports.some(
    (port) => protocols[port.protocol] === protocol && (port.port === number || port.nodePort === number),
  );
}

function holds(places: Places, place: Places): boolean {
  for (let at = 0; at < places.length; at += placeWords)
    if (place.every((word, index) => places[at + index] === word)) return true;
  return false;
}

function nameOf(id: bigint, services: readonly ServiceIntent[], family: string): string {
  const found = services.find(({ namespace, name, ports }) =>
    ports.some((port) => idOfPort([namespace, name, port.name, port.protocol, String(port.port), family]) === id),
  );
  return found === undefined ? "" : `${found.namespace}/${found.name}`;
}

function unpack(places: Places): readonly ServiceBackend[] {
  return Array.from({ length: places.length / placeWords }, (_, index) => {
    const at = index * placeWords;
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    for (let word = 0; word < 4; word++) view.setUint32(word * 4, places[at + word] ?? 0);
    const isIpv4 = places[at] === 0 && places[at + 1] === 0 && places[at + 2] === 0xffff;
    return { address: isIpv4 ? bytes.subarray(12) : bytes, port: places[at + 4] ?? 0 };
  });
}
