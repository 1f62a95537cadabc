import type { PlanPart } from "./assemble.ts";
import type { BytecodeFacts, SeenMap } from "./bytecode-facts.ts";
import type { FailSafePorts } from "./fail-safe-ports.ts";

/** What a node is, as far as plans depend on it. */
export interface NodeFacts {
  readonly nodeName: string;
  readonly cpus: number;
  /** Objects that can be loaded, by name (`filter`). */
  readonly objects: Readonly<Record<string, ObjectFacts>>;
  readonly interfaces: readonly InterfaceFacts[];
  readonly kernel: KernelFacts;
  /** Seed of in-kernel hash tables; the same for the life of the node's state. */
  readonly hashSeed: number;
  /** cgroup v2 paths that exist among those that objects name, with their cgroup ids (decimal). */
  readonly cgroups: Readonly<Record<string, string>>;
  /** Directories on which a bpffs is mounted: where pins may lie. */
  readonly bpffs: readonly string[];
  /** Objects that declarations name, by `renderSource`; only those that were asked for. */
  readonly bytecode?: Readonly<Record<string, BytecodeFacts>> | undefined;
  /** The bpffs that holds our own pins; applications find the maps of their programs below `maps` there. */
  readonly pinRoot?: string | undefined;
  /** By `MapSpec.key`: what the map was in earlier plans, newest last. */
  readonly seenMaps?: Readonly<Record<string, readonly SeenMap[]>> | undefined;
  /** By `ProgramSpec.key` of brought programs: their `programContent` in earlier plans, newest last. */
  readonly seenPrograms?: Readonly<Record<string, readonly string[]>> | undefined;
  /** By `refKey` of the owner: what brought programs became in the last plan. It goes on while a change cannot be served. */
  readonly earlierPlans?: Readonly<Record<string, PlanPart>> | undefined;
  /** What is in force was seen since the start: until then an earlier plan may be one that never came to be. */
  readonly areEarlierPlansProven?: boolean | undefined;
  /** Labels of this node. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** By the key that was asked for: where the traffic of a pod of this node can be judged. */
  readonly endpoints?: Readonly<Record<string, EndpointFacts>> | undefined;
  /** How policies are judged here, beside what they say. */
  readonly policySettings?: PolicySettings | undefined;
}

export interface ObjectFacts {
  /** SHA-256 of its bytes. */
  readonly digest: string;
  /** Another one where its maps, entries, enums, variables or programs are: who plans must know it by the same. */
  readonly layout?: string | undefined;
}

/** What whoever runs this node has chosen; what is left out is as usual. */
export interface PolicySettings {
  readonly hostAccess?: HostAccess | undefined;
  /** Addresses are known by names of DNS at least so long, however short the TTL is; 0 is usual. */
  readonly nameSeconds?: number | undefined;
  /** After the first packet of a pod, connections without a record go on from either end for so long; 60 is usual. */
  readonly graceSeconds?: number | undefined;
  readonly failSafePorts?: FailSafePorts | undefined;
}

/** Up to eleven days. */
export function parseSeconds(text: string): number | undefined {
  return /^\d{1,6}$/.test(text) ? Number(text) : undefined;
}

/** Whether this node reaches its pods whatever policies say. `never`: only as they say; `auto` is what is usual, `always`. */
export const hostAccesses = ["auto", "always", "never"] as const;
export type HostAccess = (typeof hostAccesses)[number];

/** The interface of a pod, seen from the node. */
export type EndpointFacts =
  | {
      readonly found: true;
      /** In the node's network namespace: what the pod sends comes in there. */
      readonly interface: string;
      readonly ifindex: number;
      /** Inside the pod, with the length of the prefix. */
      readonly addresses: readonly string[];
      /** Of the pod's own interface: lower-case, colons. */
      readonly mac: string;
      /** What of the pod's traffic does not pass there; not given where all does. */
      readonly note?: string | undefined;
      /** Number here of the pod's network namespace, where a network plug-in has announced it. */
      readonly namespaceId?: number | undefined;
    }
  /** `why` says what was looked for, and what helps. */
  | { readonly found: false; readonly isFinal: boolean; readonly why: string };

/** Where to look for a pod's network namespace. */
export interface EndpointWish {
  readonly key: string;
  /** Name below /run/netns, or undefined. */
  readonly netns?: string | undefined;
  /** cgroup paths, relative to the cgroup mounts; any process there or below tells the network namespace. */
  readonly cgroups?: readonly string[] | undefined;
  /** As the network plug-in that makes its interface names it. */
  readonly pod?: PodName | undefined;
  /** Some policy selects it: it is not to start before that is in force. */
  readonly isSelected?: boolean | undefined;
}

export interface PodName {
  readonly namespace: string;
  readonly name: string;
  /** Any of these; none where nobody gave one. */
  readonly uids: readonly string[];
}

/** Namespaces in which some policy may select pods that nobody has seen yet. */
export type PolicyReach = "everywhere" | readonly string[];

export interface InterfaceFacts {
  readonly name: string;
  readonly ifindex: number;
  readonly isUp: boolean;
  readonly mtu: number;
  /** `veth`, `bridge`, … or `""` for a device. */
  readonly linkKind: string;
  /** Lower-case, colons. */
  readonly mac: string;
  /** With the length of the prefix: `10.0.0.1/24`. */
  readonly addresses: readonly string[];
  readonly hasDefaultRoute: boolean;
  /**
   * What it is beside an interface by which the node itself is reached, with Ethernet's headers: `loopback`; `port` of a
   * bridge, bond or team, whose what it receives is; `raw`: packets without a header of a link; `foreign`: with another.
   */
  readonly part?: "loopback" | "port" | "raw" | "foreign" | undefined;
}

/** A feature of the running kernel: there, or not there and why (measured, not guessed from versions). */
export type Offer = { readonly has: true } | { readonly has: false; readonly why: string };

export interface KernelFacts {
  readonly release: string;
  readonly btf: Offer;
  readonly tcx: Offer;
  readonly cgroup2: Offer;
  readonly ringbuf: Offer;
  /** Self-tests of the two modes of the program chain. */
  readonly chainInline: Offer;
  readonly chainStub: Offer;
  /** XDP programs that take packets in fragments; not known where it is not given. */
  readonly xdpFrags?: Offer;
}
