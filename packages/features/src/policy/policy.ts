import type { ObjectRef, Origin } from "@bpfleet/base";
import type { Prefix } from "../filter/intent.ts";

/**
 * What one object says about who may talk to whom: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and
 * NetworkPolicy in one form. All policies that select an endpoint form one tier: what any of them denies is denied,
 * else what any of them allows is allowed, else the default deny of the direction decides.
 */
export interface Policy {
  readonly ref: ObjectRef;
  readonly mode: "enforce" | "shadow";
  /** What happens to connections that are open when they cease to be allowed. */
  readonly onRevoke: "cut" | "keep";
  readonly statements: readonly PolicyStatement[];
}

/** One `spec`, or one item of `specs`. */
export interface PolicyStatement {
  readonly origin: Origin;
  readonly subject: PolicySubject;
  readonly ingress: PolicyDirection;
  readonly egress: PolicyDirection;
  /** Of the documents, for hardware; Cilium has none. */
  readonly options: Readonly<Record<string, string>>;
}

/** Whose traffic is judged: pods, or the hosts of nodes. All requirements must hold. */
export type PolicySubject =
  | { readonly selects: "pods"; readonly where: readonly Requirement[]; readonly origin: Origin }
  | { readonly selects: "nodes"; readonly where: readonly Requirement[]; readonly origin: Origin };

export interface PolicyDirection {
  /** What no rule of any policy allows is denied. */
  readonly isDefaultDeny: boolean;
  readonly allow: readonly PolicyRule[];
  readonly deny: readonly PolicyRule[];
}

/** Traffic with one of the peers, on one of the ports. An empty list is nobody, or no port. */
export interface PolicyRule {
  readonly origin: Origin;
  readonly description: string | undefined;
  readonly peers: "any" | readonly Peer[];
  readonly ports: "any" | readonly PortMatch[];
  /** Of a rule that allows: beyond it packets in the rule's direction are dropped. */
  readonly bandwidth: Bandwidth | undefined;
  /** Of a rule that allows: the DSCP of the packets of its flows, 0 to 63, and their mark on the node. */
  readonly mark?: number | undefined;
  /** Each flow that it lets through is told as an event; of a rule that denies, each packet. */
  readonly log?: RuleLog | undefined;
  /**
   * What is written and not served. A rule that allows then allows nobody; a rule that denies denies
   * more than is written, never less.
   */
  readonly unserved: readonly Unserved[];
  /** Whom and what a rule that allows would let through, were all of it served: to tell that it is about them. */
  readonly meant?: Pick<PolicyRule, "peers" | "ports"> | undefined;
}

export interface RuleLog {
  /** What events carry. */
  readonly value?: string | undefined;
}

/** What a rule lets through, on each endpoint. */
export interface Bandwidth {
  readonly bitsPerSecond: number;
  /** Bytes that may pass at once. */
  readonly burstBytes: number | undefined;
}

export interface Unserved {
  readonly origin: Origin;
  /** Such as `HTTP rules`. */
  readonly what: string;
}

export type Peer = { readonly origin: Origin } & (
  | { readonly peer: "pods"; readonly where: readonly Requirement[] }
  | { readonly peer: "nodes"; readonly where: readonly Requirement[] }
  | { readonly peer: "entity"; readonly entity: Entity }
  | {
      readonly peer: "addresses";
      readonly prefix: Prefix;
      readonly except: readonly Prefix[];
      /** Cilium's CIDRs never match pods and nodes; those of a NetworkPolicy match whatever has the address. */
      readonly matches: "world" | "everything";
    }
  | { readonly peer: "service"; readonly namespace: string; readonly name: string }
  | {
      readonly peer: "services";
      /** Of all namespaces when undefined. */
      readonly namespace: string | undefined;
      readonly where: readonly Requirement[];
    }
  | { readonly peer: "name"; readonly name: NamePattern }
);

/** A DNS name in lower case without the dot at its end, or a pattern of one. */
export type NamePattern =
  | { readonly is: "name"; readonly text: string }
  /** `*` is any characters inside one label; alone or as `**` any name; `**.` at the begin one or more labels. */
  | { readonly is: "pattern"; readonly text: string };

export type Entity =
  | "all"
  | "world"
  | "world-ipv4"
  | "world-ipv6"
  | "cluster"
  | "cluster-mesh"
  | "host"
  | "init"
  | "ingress"
  | "unmanaged"
  | "remote-node"
  | "health"
  | "none"
  | "kube-apiserver";

export type PortProtocol = "TCP" | "UDP" | "SCTP";

export type PortMatch = { readonly origin: Origin } & (
  | {
      readonly match: "ports";
      readonly protocol: PortProtocol;
      readonly from: number;
      readonly to: number;
      readonly dns: DnsRules;
    }
  | {
      readonly match: "named-port";
      readonly protocol: PortProtocol;
      readonly name: string;
      /** Where a range ends that begins with the port of this name; a port beyond it is meant alone. */
      readonly to?: number | undefined;
      readonly dns: DnsRules;
    }
  | { readonly match: "icmp"; readonly family: 4 | 6; readonly type: number }
  | { readonly match: "ip-protocol"; readonly number: number }
);

/** Names that may be asked for; answers teach addresses. `undefined`: the port carries no DNS rules. */
export type DnsRules = readonly NamePattern[] | undefined;

/** One requirement of a selector. */
export interface Requirement {
  readonly on: LabelSource;
  /** The label; `""` where there is but one value, as for the name of a namespace. */
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}

export type LabelSource =
  | "pod"
  | "node"
  | "service"
  | "namespace-name"
  | "namespace-label"
  | "service-account"
  | "cluster"
  /** What Cilium calls reserved, such as `reserved:host`; no pod has one. */
  | "reserved";
