import type { NodeFacts } from "@bpfleet/kernel";
import { bytesOfKey, isOfOneLink, parseAddressKey, type AddressKey } from "../compile/address-key.ts";
import type { Backend, BackendsIntent, HostIntent, ServiceIntent, ServicePort } from "../intent.ts";
import { idOfPort, serialOfServices } from "./digest-services.ts";
import { knowServices } from "./known-services.ts";
import { comparePlaces, type ServicePlace, type ServiceTable, type ServiceTablePort } from "./service-table.ts";

interface Told {
  readonly services: readonly ServiceIntent[];
  readonly backends?: readonly BackendsIntent[] | undefined;
  readonly hosts: readonly HostIntent[];
}

/** The node that clients are on. */
interface ClientNode {
  readonly name: string;
  readonly zone: string | undefined;
  readonly addresses: readonly AddressKey[];
}

const zoneLabel = "topology.kubernetes.io/zone";
const protocols = { TCP: 6, UDP: 17, SCTP: 132 } as const;

/** What Services are to clients on this node. */
export function resolveServices(told: Told, facts: Pick<NodeFacts, "interfaces" | "nodeName">): ServiceTable {
  const node: ClientNode = {
    name: facts.nodeName,
    zone: told.hosts.find(({ isThisNode }) => isThisNode)?.labels[zoneLabel],
    addresses: keysOf(facts.interfaces.flatMap(({ addresses }) => addresses)),
  };
  const taken = new Set<string>();
  const ports = knowServices(told)
    .toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
    .flatMap((service) => service.ports.flatMap((port) => resolvePort(service, port, service.slices, node)))
    .map((port) => ({ ...port, places: port.places.filter((place) => isFree(place, port.protocol, taken)) }))
    .filter(({ places }) => places.length > 0);
  return { serial: serialOfServices(ports), ports };
}

function nameOf({ namespace, name }: ServiceIntent): string {
  return `${namespace}/${name}`;
}

/** Of several Services with one address and port the first one has it. */
function isFree({ bytes, port }: ServicePlace, protocol: number, taken: Set<string>): boolean {
  const key = `${bytes.join()} ${port} ${protocol}`;
  return !taken.has(key) && taken.add(key).size > 0;
}

type Scope = "cluster" | "external" | "closed";

function resolvePort(
  service: ServiceIntent,
  port: ServicePort,
  slices: readonly BackendsIntent[],
  node: ClientNode,
): readonly ServiceTablePort[] {
  const nodePlaces = port.nodePort === undefined ? [] : node.addresses.map((key) => placeOf(key, port.nodePort ?? 0));
  const at = (texts: readonly string[]): readonly ServicePlace[] => keysOf(texts).map((key) => placeOf(key, port.port));
  const places: Readonly<Record<Scope, readonly ServicePlace[]>> = {
    cluster: at(service.clusterAddresses),
    external: [...at(service.externalAddresses), ...nodePlaces],
    closed: at(service.closedAddresses),
  };
  return (Object.keys(places) as Scope[]).flatMap((scope) =>
    ([4, 6] as const).flatMap((family): ServiceTablePort[] => {
      const own = places[scope].filter(({ bytes }) => isIpv4(bytes) === (family === 4));
      if (own.length === 0) return [];
      const chosen =
        scope === "closed" ? [] : chooseBackends(slices, port, service.isLocalOnly && scope === "cluster", node);
      return [
        {
          id: idOfPort([service.namespace, service.name, port.name, port.protocol, `${port.port}`, `${family}`]),
          places: own,
          protocol: protocols[port.protocol],
          affinitySeconds: service.affinitySeconds,
          backends: distinct(chosen.filter(({ bytes }) => isIpv4(bytes) === (family === 4))),
        },
      ];
    }),
  );
}

interface Candidate {
  readonly backend: Backend;
  readonly places: readonly ServicePlace[];
}

/** As kube-proxy does it: ready ones, or without those the ones that serve still; of those what is told to be near. */
function chooseBackends(
  slices: readonly BackendsIntent[],
  { name, protocol }: ServicePort,
  isLocalOnly: boolean,
  node: ClientNode,
): readonly ServicePlace[] {
  const all = slices.flatMap(({ ports, backends }): Candidate[] => {
    const port = ports.find((each) => each.name === name && each.protocol === protocol);
    if (port === undefined) return [];
    return backends.map((backend) => ({
      backend,
      places: keysOf(backend.addresses.slice(0, 1)).map((key) => placeOf(key, port.port)),
    }));
  });
  const allowed = isLocalOnly ? all.filter(({ backend }) => backend.node === node.name) : all;
  const ready = allowed.filter(({ backend }) => backend.isReady);
  const usable = ready.length > 0 ? ready : allowed.filter(({ backend }) => backend.isServing);
  return (isLocalOnly || ready.length === 0 ? usable : nearest(ready, node)).flatMap(({ places }) => places);
}

/** Hints count where every back end has one, and one of them is for this node. */
function nearest(ready: readonly Candidate[], { name, zone }: ClientNode): readonly Candidate[] {
  if (ready.every(({ backend }) => backend.forNodes.length > 0)) {
    const own = ready.filter(({ backend }) => backend.forNodes.includes(name));
    if (own.length > 0) return own;
  }
  if (zone !== undefined && ready.every(({ backend }) => backend.forZones.length > 0)) {
    const own = ready.filter(({ backend }) => backend.forZones.includes(zone));
    if (own.length > 0) return own;
  }
  return ready;
}

function distinct(places: readonly ServicePlace[]): readonly ServicePlace[] {
  const sorted = places.toSorted(comparePlaces);
  return sorted.filter((place, at) => {
    const before = sorted[at - 1];
    return before === undefined || comparePlaces(before, place) !== 0;
  });
}

function keysOf(texts: readonly string[]): readonly AddressKey[] {
  const keys = texts.flatMap((text) => parseAddressKey(text) ?? []).filter((key) => !isOfOneLink(key));
  return [...new Set(keys)];
}

function placeOf(key: AddressKey, port: number): ServicePlace {
  return { bytes: bytesOfKey(key), port };
}

function isIpv4(bytes: Uint8Array): boolean {
  return bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);
}
