import type { Origin } from "@bpfleet/base";
import type { Intent } from "../feature.ts";

/**
 * Drop by address, limit by source, track flows, mark, account: on one interface hook, or on the
 * cgroups of some pods.
 */
export interface FilterIntent extends Intent {
  readonly feature: "filter";
  readonly at: FilterPlace;
  /** Of the place; the object's own when not given. */
  readonly placeOrigin?: Origin | undefined;
  /** Lower runs first. */
  readonly priority: number;
  readonly blacklist?: { readonly entries: readonly BlacklistEntry[]; readonly origin: Origin } | undefined;
  readonly rateLimit?: { readonly packetsPerSecond: number; readonly origin: Origin } | undefined;
  /** Replies to flows that left by this interface pass the rate limit. */
  readonly isStateful: boolean;
  readonly mark?: FilterMark | undefined;
  /** Count packets and bytes per cgroup and direction. */
  readonly accounting?: { readonly origin: Origin } | undefined;
  /** EBPFMap objects of type lpm_trie to consult after the program's own list; value 1 blocks, 0 passes. */
  readonly maps: readonly FilterMapRef[];
}

export type FilterPlace =
  | { readonly hook: "xdp" | "tc-ingress" | "tc-egress"; readonly interface: string }
  | {
      readonly hook: "cgroup";
      readonly pods: readonly PodCgroup[];
      readonly directions: readonly ("ingress" | "egress")[];
    };

export interface PodCgroup {
  readonly pod: string;
  readonly namespace: string;
  /** Path below the cgroup v2 mount, or absolute. */
  readonly path: string;
}

export interface BlacklistEntry {
  readonly prefix: Prefix;
  /** As written. */
  readonly text: string;
  readonly origin: Origin;
}

export interface Prefix {
  readonly family: 4 | 6;
  /** Network order, 4 or 16 bytes; bits past `length` are 0. */
  readonly bytes: Uint8Array;
  readonly length: number;
}

export interface FilterMark {
  /** skb mark: the bits in `mask` become those of `value`; undefined leaves it. */
  readonly skb?: { readonly value: number; readonly mask: number } | undefined;
  /** 0-63, written to the IP header. */
  readonly dscp?: number | undefined;
  /** skb priority from the packet's DSCP class. */
  readonly priorityFromDscp: boolean;
  readonly origin: Origin;
}

export interface FilterMapRef {
  /** `MapSpec.key` of the map as the maps feature plans it: `maps/<namespace>/<name>`. */
  readonly mapKey: string;
  readonly family: 4 | 6;
  readonly origin: Origin;
}
