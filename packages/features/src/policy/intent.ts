import type { ObjectRef } from "@bpfleet/base";
import type { Intent } from "../feature.ts";
import type { Bandwidth, Policy, PortProtocol } from "./policy.ts";

/** Everything that the policy feature is told: what is to hold, and who there is. */
export type PolicyFeatureIntent =
  | PolicyIntent
  | WorkloadIntent
  | AddressesIntent
  | HostIntent
  | ServiceIntent
  | BackendsIntent;

export interface PolicyIntent extends Intent {
  readonly feature: "policy";
  readonly about: "policy";
  /**
   * `policy`: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and NetworkPolicy together. `fallback`:
   * decides only where no policy of the first tier selects the endpoint in that direction. `container`
   * (EBPFContainerPolicy) and `l4` (the l4Firewall of PodConfigMapConfig) judge beside those: each tier that has a
   * say in a direction must allow.
   */
  readonly tier: "policy" | "fallback" | "container" | "l4";
  /**
   * Of the fallback and of containers, where the first rule that is met decides: objects with a lower one are asked
   * first, then in the order of their names; within an object the statements in their order, of which each has one
   * rule at most in a direction.
   */
  readonly priority?: number | undefined;
  /** What each pod that it selects receives and sends is counted, and what is refused. */
  readonly counts?: boolean | undefined;
  /** Of containers: how many connections each pod that it selects may begin each second. The lowest one holds. */
  readonly connectionRate?: number | undefined;
  /** Of containers: how many connections of TCP and SCTP each of those pods may have open. The lowest one holds. */
  readonly mostConnections?: number | undefined;
  /** Of containers: how much each of those pods may receive and send. The lowest one holds. */
  readonly bandwidth?:
    | { readonly ingress?: Bandwidth | undefined; readonly egress?: Bandwidth | undefined }
    | undefined;
  readonly policy: Policy;
}

/** One pod, as its own object says it. */
export interface WorkloadIntent extends Intent {
  readonly feature: "policy";
  readonly about: "workload";
  readonly pod: ObjectRef;
  readonly labels: Readonly<Record<string, string>>;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  /** Nobody has told what labels it has, beside those: no selector that asks for the lack of one lets it through. */
  readonly isNamespaceUnknown?: true | undefined;
  /** `""` when it is not known. */
  readonly serviceAccount: string;
  readonly namedPorts: readonly NamedPort[];
  /** Without a length, as text; those that the API server tells. Facts may add those of an endpoint. */
  readonly addresses: readonly string[];
  /** It has no network namespace of its own: its addresses are its node's. */
  readonly isHostNetwork: boolean;
  /** Key in `NodeFacts.endpoints` when it runs on this node. */
  readonly endpoint: string | undefined;
}

/**
 * Addresses of pods that no rule tells apart otherwise: those of other nodes, of which there are many. Where a
 * WorkloadIntent names an address, that one counts; of several of these the one with the highest `version`.
 * The very same object comes again while what it was made of is the same.
 */
export interface AddressesIntent extends Intent {
  readonly feature: "policy";
  readonly about: "addresses";
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  /** Nobody has told what labels it has, beside those: no selector that asks for the lack of one lets it through. */
  readonly isNamespaceUnknown?: true | undefined;
  readonly serviceAccount: string;
  readonly namedPorts: readonly NamedPort[];
  /** Without a length, as text. */
  readonly addresses: readonly string[];
  /** Decimal digits that compare as a number, or `""`, which is the lowest. */
  readonly version: string;
}

export interface NamedPort {
  readonly name: string;
  readonly protocol: PortProtocol;
  readonly port: number;
}

/** A node; several of one name are one node with all their addresses, and the labels of the one with `isThisNode`. */
export interface HostIntent extends Intent {
  readonly feature: "policy";
  readonly about: "host";
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Of the API server; those of this node's interfaces are in the facts. */
  readonly addresses: readonly string[];
  readonly isThisNode: boolean;
}

export interface ServiceIntent extends Intent {
  readonly feature: "policy";
  readonly about: "service";
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** By which clients in the cluster know it. */
  readonly clusterAddresses: readonly string[];
  /** By which clients outside do, and those inside may. */
  readonly externalAddresses: readonly string[];
  /** External ones for a few clients only, of which it is not told whether pods are among them. */
  readonly closedAddresses: readonly string[];
  readonly ports: readonly ServicePort[];
  /** A client keeps its back end for so long. */
  readonly affinitySeconds: number | undefined;
  /** Clients by a cluster address get back ends of their own node only. */
  readonly isLocalOnly: boolean;
}

export interface ServicePort {
  /** `""` where there is but one. */
  readonly name: string;
  readonly protocol: PortProtocol;
  readonly port: number;
  /** At every node's own addresses. */
  readonly nodePort: number | undefined;
}

/** Some of the back ends of a Service, all in one family of addresses. */
export interface BackendsIntent extends Intent {
  readonly feature: "policy";
  readonly about: "backends";
  readonly namespace: string;
  readonly service: string;
  readonly ports: readonly Pick<ServicePort, "name" | "protocol" | "port">[];
  readonly backends: readonly Backend[];
}

export interface Backend {
  /** Without a length, as text. */
  readonly addresses: readonly string[];
  readonly isReady: boolean;
  /** It serves still, while it ends: for Services of which no back end is ready. */
  readonly isServing: boolean;
  readonly node: string | undefined;
  /** Clients that should have it: on nodes of these zones, on these nodes. Empty: anybody. */
  readonly forZones: readonly string[];
  readonly forNodes: readonly string[];
}
