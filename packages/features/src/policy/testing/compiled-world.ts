import type { Origin } from "@bpfleet/base";
import { compilePolicy, type CompiledPolicy, type CompileFacts, type PolicyInput } from "../compile/compile-policy.ts";
import { bytesOfKey, parseAddressKey } from "../compile/address-key.ts";
import { policyLimits, type PolicyLimits } from "../compile/limits.ts";
import { endpointNumber } from "../generated/policy.ts";
import type { BackendsIntent, PolicyIntent, ServiceIntent } from "../intent.ts";
import type { Policy } from "../policy.ts";
import { resolveServices } from "../services/resolve-services.ts";
import { packPlaces, placeWords, type Places, type ServiceTable } from "../services/service-table.ts";
import { judgeTable, type TableAnswer } from "../table/judge-table.ts";
import { writeTable } from "../table/write-table.ts";
import {
  noOtherTiers,
  type OtherTiers,
  type World,
  type WorldPacket,
  type WorldPod,
  type WorldService,
} from "./world.ts";

/** A world compiled and laid out, as the kernel would have it. */
export interface CompiledWorld {
  readonly compiled: CompiledPolicy;
  readonly lines: Uint8Array;
  judge(packet: WorldPacket): TableAnswer;
  /** Where a packet to a Service may go; `undefined`: it is for none. */
  placesBehind(packet: WorldPacket): readonly string[] | undefined;
}

export function compileWorld(
  policies: readonly Policy[],
  world: World,
  { limits = policyLimits, ...others }: { readonly limits?: PolicyLimits } & Partial<OtherTiers> = {},
): CompiledWorld {
  const input = inputOf(policies, world, others);
  const compiled = compilePolicy(input, factsOf(world), () => 1, limits);
  const { lines } = writeTable(compiled.table);
  const ifindexes = ifindexesOf(world);
  return {
    compiled,
    lines,
    placesBehind(packet) {
      if (packet.direction === "ingress") return undefined;
      const own = addressWords(world.pods.find(({ name }) => name === packet.pod)?.addresses ?? []);
      const [to] = addressWords([packet.peer]);
      const found = servicesOf(world).ports.find(
        ({ protocol, places }) =>
          protocol === numberOf(packet.protocol) && textsOf(places).includes(`${to} ${packet.port}`),
      );
      return found && textsOf(found.backends).filter((text) => !own.includes(text.split(" ")[0] ?? ""));
    },
    judge({ pod, direction, peer, protocol, port, asks }) {
      const key = parseAddressKey(peer);
      if (key === undefined) throw new RangeError(`no address: ${peer}`);
      const ifindex = pod === "" ? endpointNumber.host : (ifindexes.get(pod) ?? 0);
      const names = (world.names ?? []).flatMap((each) =>
        each.pod === pod && parseAddressKey(each.address) === key ? [each.name] : [],
      );
      return judgeTable(lines, {
        ifindex,
        direction,
        peer: bytesOfKey(key),
        protocol: numberOf(protocol),
        port,
        names,
        asks: direction === "egress" && protocol === "UDP" && port === 53 && pod !== "" ? (asks ?? false) : undefined,
      });
    },
  };
}

const protocolNumbers = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58 } as const;

function numberOf(protocol: WorldPacket["protocol"]): number {
  return typeof protocol === "number" ? protocol : protocolNumbers[protocol];
}

const tables = new WeakMap<World, ServiceTable>();

/** The Services of a world, as clients on this node have them. */
export function servicesOf(world: World): ServiceTable {
  let table = tables.get(world);
  if (table === undefined) {
    table = resolveServices(inputOf([], world), factsOf(world));
    tables.set(world, table);
  }
  return table;
}

/** As `textsOf` has addresses. */
function addressWords(texts: readonly string[]): readonly string[] {
  return texts.flatMap((text) => {
    const key = parseAddressKey(text);
    return key === undefined ? [] : textsOf(packPlaces([{ key, port: 0 }])).map((each) => each.split(" ")[0] ?? "");
  });
}

/** Words of the address, and the port. */
function textsOf(places: Places): readonly string[] {
  return Array.from({ length: places.length / placeWords }, (_, at) => {
    const words = places.subarray(at * placeWords, (at + 1) * placeWords);
    return `${words.subarray(0, 4).join()} ${words[4]}`;
  });
}

function ifindexesOf({ pods }: World): ReadonlyMap<string, number> {
  return new Map(pods.flatMap(({ name, isOnThisNode }, at) => (isOnThisNode ? [[name, at + 1]] : [])));
}

export function inputOf(policies: readonly Policy[], world: World, others: Partial<OtherTiers> = {}): PolicyInput {
  const { fallback, container, l4 } = { ...noOtherTiers, ...others };
  const intentOf = (tier: PolicyIntent["tier"], policy: Policy, priority?: number): PolicyIntent => ({
    feature: "policy",
    about: "policy",
    origin: originOf(policy),
    tier,
    priority,
    policy,
  });
  return {
    policies: [
      ...policies.map((policy) => intentOf("policy", policy)),
      ...fallback.map(({ policy, priority }) => intentOf("fallback", policy, priority)),
      ...container.map(({ policy, priority }) => intentOf("container", policy, priority)),
      ...l4.map((policy) => intentOf("l4", policy)),
    ],
    workloads: world.pods
      .filter(({ isOnThisNode }) => isOnThisNode)
      .map((pod) => ({
        ...inhabitantOf(pod),
        about: "workload",
        pod: originOfPod(pod).object,
        isHostNetwork: false,
        endpoint: pod.name,
      })),
    addresses: world.pods
      .filter(({ isOnThisNode }) => !isOnThisNode)
      .map((pod) => ({ ...inhabitantOf(pod), about: "addresses", namespace: pod.namespace, version: "1" })),
    hosts: world.nodes.map(({ name, labels, addresses, isThisNode }) => ({
      feature: "policy",
      about: "host",
      origin: { object: { group: "", kind: "Node", namespace: "", name }, path: "" },
      name,
      labels,
      addresses,
      isThisNode,
    })),
    services: (world.services ?? []).map(serviceIntent),
    backends: (world.services ?? []).flatMap(backendIntents),
    settings: { hostAccess: world.localHost },
  };
}

function inhabitantOf(pod: WorldPod) {
  const { labels, namespaceLabels, isNamespaceUnknown, serviceAccount, namedPorts, addresses } = pod;
  const origin = originOfPod(pod);
  return {
    feature: "policy",
    origin,
    labels,
    namespaceLabels,
    isNamespaceUnknown,
    serviceAccount,
    namedPorts,
    addresses,
  } as const;
}

function originOf({ ref }: Policy): Origin {
  return { object: ref, path: "" };
}

function originOfPod({ namespace, name }: WorldPod): Origin {
  return { object: { group: "", kind: "Pod", namespace, name }, path: "" };
}

export function factsOf(world: World): CompileFacts {
  const endpoints = Object.fromEntries(
    [...ifindexesOf(world)].map(([name, ifindex]) => [
      name,
      { found: true, interface: `veth${ifindex}`, ifindex, addresses: [], mac: "02:00:00:00:00:01" } as const,
    ]),
  );
  const addresses = world.nodes.flatMap((node) => (node.isThisNode ? node.addresses : []));
  const face = { name: "eth0", ifindex: 1000, isUp: true, mtu: 1500, linkKind: "", mac: "", addresses };
  return { nodeName: "here", interfaces: [{ ...face, hasDefaultRoute: true }], endpoints };
}

function serviceIntent(service: WorldService): ServiceIntent {
  const { namespace, name, labels, clusterAddresses, externalAddresses, closedAddresses, isLocalOnly } = service;
  return {
    feature: "policy",
    about: "service",
    origin: { object: { group: "", kind: "Service", namespace, name }, path: "" },
    namespace,
    name,
    labels,
    clusterAddresses,
    externalAddresses,
    closedAddresses,
    ports: service.ports.map((port) => ({ ...port, nodePort: port.nodePort })),
    affinitySeconds: undefined,
    isLocalOnly,
  };
}

/** A slice for each back end: what of its ports has another number than elsewhere cannot be in one. */
function backendIntents({ namespace, name, ports, backends }: WorldService): readonly BackendsIntent[] {
  return backends.map((backend) => ({
    feature: "policy",
    about: "backends",
    origin: { object: { group: "discovery.k8s.io", kind: "EndpointSlice", namespace, name }, path: "" },
    namespace,
    service: name,
    ports: ports.flatMap((port) => {
      const number = backend.ports[port.name];
      return number === undefined ? [] : [{ name: port.name, protocol: port.protocol, port: number }];
    }),
    backends: [
      {
        addresses: [backend.address],
        isReady: backend.isReady,
        isServing: backend.isServing,
        node: backend.node,
        forZones: [],
        forNodes: [],
      },
    ],
  }));
}
