import type { Policy, PortProtocol } from "../policy.ts";

/** Of a tier in which the first rule that is met decides; see `PolicyIntent.priority`. */
export interface OrderedPolicy {
  readonly policy: Policy;
  readonly priority: number;
}

/** What judges beside the first tier of policies; see `PolicyIntent.tier`. */
export interface OtherTiers {
  readonly fallback: readonly OrderedPolicy[];
  readonly container: readonly OrderedPolicy[];
  readonly l4: readonly Policy[];
}

export const noOtherTiers: OtherTiers = { fallback: [], container: [], l4: [] };

/** Who there is, as it seems to one node. */
export interface World {
  readonly pods: readonly WorldPod[];
  readonly nodes: readonly WorldNode[];
  /** `auto`: the node itself always reaches its pods. */
  readonly localHost: "auto" | "never";
  /** What answers of DNS have taught pods of this node. */
  readonly names?: readonly WorldName[] | undefined;
  readonly services?: readonly WorldService[] | undefined;
}

/** A pod knows an address by a name: lower case, without the dot at the end. */
export interface WorldName {
  readonly pod: string;
  readonly address: string;
  readonly name: string;
}

export interface WorldService {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly clusterAddresses: readonly string[];
  /** For anybody. */
  readonly externalAddresses: readonly string[];
  /** For a few, of whom nobody knows whether pods are among them. */
  readonly closedAddresses: readonly string[];
  readonly ports: readonly (WorldPort & { readonly nodePort?: number | undefined })[];
  /** Pods get those of their own node only. */
  readonly isLocalOnly: boolean;
  readonly backends: readonly WorldBackend[];
}

export interface WorldBackend {
  readonly address: string;
  /** By the name of a port of the Service. */
  readonly ports: Readonly<Record<string, number>>;
  readonly isReady: boolean;
  readonly isServing: boolean;
  readonly node: string;
}

export interface WorldPod {
  /** Unique. */
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  /** It may have labels beside those. */
  readonly isNamespaceUnknown?: true | undefined;
  readonly serviceAccount: string;
  readonly namedPorts: readonly WorldPort[];
  readonly addresses: readonly string[];
  /** Packets of such pods are judged. */
  readonly isOnThisNode: boolean;
}

export interface WorldPort {
  readonly name: string;
  readonly protocol: PortProtocol;
  readonly port: number;
}

export interface WorldNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
  readonly isThisNode: boolean;
}

/** The first packet of a connection, as one of its ends sees it. */
export interface WorldPacket {
  /** Name of the pod whose packet is judged; `""`: this node itself. */
  readonly pod: string;
  readonly direction: "ingress" | "egress";
  /** The other end. */
  readonly peer: string;
  /** A number is any other protocol of IP, which has neither ports nor types. */
  readonly protocol: PortProtocol | "ICMP" | "ICMPv6" | number;
  /** Destination port, or type. */
  readonly port: number;
  /** Of a question of DNS: the name. */
  readonly asks?: string | undefined;
}
