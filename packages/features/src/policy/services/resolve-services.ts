import type { NodeFacts } from "@bpfleet/kernel";
import { isOfOneLink, parseAddressKey, type AddressKey } from "../compile/address-key.ts";
import type { Backend, BackendsIntent, HostIntent, ServiceIntent, ServicePort } from "../intent.ts";
import { idOfPort, serialOfServices } from "./digest-services.ts";
import {
  packPlaces,
  placeWords,
  TakenPlaces,
  type ServicePlace,
  type ServiceTable,
  type ServiceTablePort,
} from "./service-table.ts";

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

/** What one Service is, by what is behind it. */
interface Resolved {
  readonly name: string;
  readonly slices: readonly BackendsIntent[];
  readonly ports: readonly ServiceTablePort[];
}

/** What was found out of each Service: it holds as long as Service, slices and node are the same values. */
export class ServiceMemory {
  #node = "";
  #known: ReadonlyMap<ServiceIntent, Resolved> = new Map();

  at(node: string): ReadonlyMap<ServiceIntent, Resolved> {
    if (node !== this.#node) this.#known = new Map();
    this.#node = node;
    return this.#known;
  }

  keep(known: ReadonlyMap<ServiceIntent, Resolved>): void {
    this.#known = known;
  }
}

const zoneLabel = "topology.kubernetes.io/zone";
const protocols = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const none: readonly BackendsIntent[] = [];

/** What Services are to clients on this node. */
export function resolveServices(
  { services, backends = none, hosts }: Told,
  facts: Pick<NodeFacts, "interfaces" | "nodeName">,
  memory = new ServiceMemory(),
): ServiceTable {
  const node: ClientNode = {
    name: facts.nodeName,
    zone: hosts.find(({ isThisNode }) => isThisNode)?.labels[zoneLabel],
    addresses: keysOf(facts.interfaces.flatMap(({ addresses }) => addresses)),
  };
  const before = memory.at(JSON.stringify(node));
  const slicesOf = Map.groupBy(backends, ({ namespace, service }) => `${namespace}/${service}`);
  const now = new Map<ServiceIntent, Resolved>();
  for (const service of services) {
    const known = before.get(service);
    const name = known?.name ?? `${service.namespace}/${service.name}`;
    const slices = slicesOf.get(name) ?? none;
    const isSame = known?.slices.length === slices.length && known.slices.every((slice, at) => slice === slices[at]);
    const ports = isSame ? known.ports : service.ports.flatMap((port) => resolvePort(service, port, slices, node));
    now.set(service, isSame ? known : { name, slices, ports });
  }
  memory.keep(now);
  const ports = [...now.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1)).flatMap((each) => each.ports);
  const free = withoutTaken(ports);
  return { serial: serialOfServices(free), ports: free };
}

/** Of several Services with one address and port the first one has it. */
function withoutTaken(ports: readonly ServiceTablePort[]): readonly ServiceTablePort[] {
  const taken = new TakenPlaces(ports.reduce((sum, { places }) => sum + places.length / placeWords, 0));
  return ports.flatMap((port) => {
    const places = taken.take(port.places, port.protocol);
    return places === port.places ? [port] : places.length === 0 ? [] : [{ ...port, places }];
  });
}

type Scope = "cluster" | "external" | "closed";

function resolvePort(
  service: ServiceIntent,
  port: ServicePort,
  slices: readonly BackendsIntent[],
  node: ClientNode,
): readonly ServiceTablePort[] {
  const nodePlaces =
    port.nodePort === undefined ? [] : node.addresses.map((key) => ({ key, port: port.nodePort ?? 0 }));
  const at = (texts: readonly string[]): readonly ServicePlace[] =>
    keysOf(texts).map((key) => ({ key, port: port.port }));
  const places: Readonly<Record<Scope, readonly ServicePlace[]>> = {
    cluster: at(service.clusterAddresses),
    external: [...at(service.externalAddresses), ...nodePlaces],
    closed: at(service.closedAddresses),
  };
  return (Object.keys(places) as Scope[]).flatMap((scope) =>
    ([4, 6] as const).flatMap((family): ServiceTablePort[] => {
      const isOfFamily = ({ key }: ServicePlace): boolean => key.startsWith(`${family}`);
      const own = places[scope].filter(isOfFamily);
      if (own.length === 0) return [];
      const chosen =
        scope === "closed"
          ? []
          : chooseBackends(slices, port, family, service.isLocalOnly && scope === "cluster", node);
      return [
        {
          id: idOfPort([service.namespace, service.name, port.name, port.protocol, `${port.port}`, `${family}`]),
          places: packPlaces(own),
          protocol: protocols[port.protocol],
          affinitySeconds: service.affinitySeconds,
          backends: packPlaces(chosen),
        },
      ];
    }),
  );
}

interface Candidate {
  readonly backend: Backend;
  readonly places: readonly ServicePlace[];
}

/** As kube-proxy does it, for each family by itself: ready ones, or without those the ones that serve still; of those what is told to be near. */
function chooseBackends(
  slices: readonly BackendsIntent[],
  { name, protocol }: ServicePort,
  family: 4 | 6,
  isLocalOnly: boolean,
  node: ClientNode,
): readonly ServicePlace[] {
  const all = slices.flatMap(({ ports, backends }): Candidate[] => {
    const port = ports.find((each) => each.name === name && each.protocol === protocol);
    if (port === undefined) return [];
    return backends.flatMap((backend) => {
      const keys = keysOf(backend.addresses.slice(0, 1));
      const places = keys.map((key) => ({ key, port: port.port }));
      return keys.every((key) => key.startsWith(`${family}`)) ? [{ backend, places }] : [];
    });
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

function keysOf(texts: readonly string[]): readonly AddressKey[] {
  const keys = texts.flatMap((text) => parseAddressKey(text) ?? []).filter((key) => !isOfOneLink(key));
  return [...new Set(keys)];
}
