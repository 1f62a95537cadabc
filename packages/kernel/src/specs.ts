import type { ObjectRef, Origin } from "@bpfleet/base";
import type { HookPoint } from "./hook-point.ts";

/** Map types by their kernel names, without `BPF_MAP_TYPE_`, in lower case. */
export type MapType =
  | "hash"
  | "array"
  | "lru_hash"
  | "lpm_trie"
  | "percpu_hash"
  | "percpu_array"
  | "lru_percpu_hash"
  | "stack"
  | "queue"
  | "ringbuf"
  | "perf_event_array"
  | "prog_array"
  | "array_of_maps"
  | "hash_of_maps"
  | "devmap"
  | "cgroup_array"
  | "sockhash"
  | "sockmap";

export interface MapDefinition {
  readonly type: MapType;
  readonly keySize: number;
  /** Of one CPU's value, for per-CPU maps. */
  readonly valueSize: number;
  readonly maxEntries: number;
  /** `BPF_F_*` flags of map creation. */
  readonly flags: number;
}

/** `BPF_F_*` of linux/bpf.h, as far as features ask for them. */
export const mapFlags = {
  noPrealloc: 1 << 0,
  readOnlyForPrograms: 1 << 7,
  /** Arrays only: filled through memory, which is much faster where they are long. */
  mmapable: 1 << 10,
  /** Arrays only, Linux 5.10: the ones that a map refers to may differ in `maxEntries`. */
  innerMap: 1 << 12,
} as const;

/** Packed entries: `count` keys and `count` values, each of the map's size, one after the other. */
export interface MapEntries {
  readonly count: number;
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
}

/**
 * Who writes a map.
 * - `live`: programs do; we create it and leave its contents alone.
 * - `sealed`: filled before it is pinned, then frozen. Other contents are another map, so programs that
 *   read it change together with it. `digest` is the fingerprint of the entries.
 * - `kept`: our entries are kept in place; entries of others stay unless `prune` is set. Values of per-CPU
 *   maps are one CPU's and are written for every CPU.
 * - `refers`: a map of maps, whose slots hold what `entries` says and nothing else. They are put in place,
 *   each in one step, so that all programs over it change at once and none is loaded anew: what is referred
 *   to is no part of its identity.
 */
export type MapContents =
  | { readonly kind: "live" }
  | { readonly kind: "sealed"; readonly digest: string; readonly entries: MapEntries }
  | { readonly kind: "kept"; readonly entries: MapEntries; readonly prune: boolean }
  | {
      readonly kind: "refers";
      /** What the maps are that it takes; see `isAlike`. */
      readonly inner: MapDefinition;
      /** Per-CPU arrays of any size: its programs ask the map that is there (bpf_map_lookup_percpu_elem). */
      readonly takesAnySize?: true | undefined;
      /**
       * What is in the slots asks more of programs than what is to be there, and they are to be replaced by ones that do
       * less: those that run go on until it is there.
       */
      readonly isBeforePrograms?: boolean | undefined;
      readonly entries: readonly MapReference[];
    };

export interface MapReference {
  readonly slot: number;
  /** `MapSpec.key`. */
  readonly map: string;
}

export interface MapSpec {
  /** Stable name in the plan and, encoded, in the pin path: `filter/default/xdp-packet-filter/buckets`. */
  readonly key: string;
  /** The kernel's name, at most 15 characters. */
  readonly name: string;
  readonly definition: MapDefinition;
  readonly contents: MapContents;
  /** A second pin that the user asked for; must lie on a bpffs. */
  readonly pinPath?: string | undefined;
  /** Fingerprint of the types of key and value: with another one it is another map. */
  readonly layout?: string | undefined;
  /** C, for people: of key and value. */
  readonly types?: { readonly key: string; readonly value: string } | undefined;
  /** The object that declares it: it is created as that one says, with its types. */
  readonly declaredIn?: { readonly object: ProgramSpec["object"]; readonly map: string } | undefined;
  readonly owner?: ObjectRef | undefined;
  /**
   * One half of a pair of rule counters (bpf/include/counters.h). The keys of a pair differ only in
   * their last segment (`…/hits`, `…/base`); `contents` of both is `sealed` with one digest of the rule
   * ids, so that another rule list is another pair (they are never frozen). `rule-hits` has no
   * entries: programs count there. `rule-base` has one entry {u64 rule id, u64 packets, u64 bytes} per
   * rule index, counts 0; an edit carries the counts of the earlier pair there by rule id. Entry 0
   * ("no rule") has rule id 0 until the carrying is complete, then 1.
   */
  readonly carries?: "rule-hits" | "rule-base" | undefined;
}

export type ProgramType =
  | "xdp"
  | "sched_cls"
  | "cgroup_skb"
  | "cgroup_sock"
  | "cgroup_sock_addr"
  | "cgroup_device"
  | "cgroup_sockopt"
  | "cgroup_sysctl"
  | "sock_ops"
  | "raw_tracepoint"
  | "tracepoint"
  | "kprobe"
  | "tracing";

export type GlobalValue = number | bigint | boolean | Uint8Array;

export interface ProgramSpec {
  /** `filter/default/xdp-packet-filter/xdp`. */
  readonly key: string;
  /** The kernel's name, at most 15 characters. */
  readonly name: string;
  readonly type: ProgramType;
  /** The ELF object: the name that NodeFacts.objects lists, and its digest. */
  readonly object: { readonly name: string; readonly digest: string };
  /** Function name inside the object. */
  readonly entry: string;
  /** Function of the kernel that a tracing program is for, where its section names another one or none. */
  readonly attachTarget?: string | undefined;
  /** XDP: takes packets in fragments, whatever its section says. */
  readonly takesFragments?: true | undefined;
  /** `const volatile` variables, set before load. */
  readonly globals: Readonly<Record<string, GlobalValue>>;
  /** Map name in the object → `MapSpec.key`. Maps not named here are created privately at load. */
  readonly maps: Readonly<Record<string, string>>;
  readonly owner?: ObjectRef | undefined;
}

export interface HookMember {
  /** `ProgramSpec.key`. */
  readonly program: string;
  /** Lower runs first; ties by `program`. */
  readonly priority: number;
  /** Verdicts (XDP_* or TC_ACT_* codes) after which the next member runs. */
  readonly proceedOn: readonly number[];
}

export interface HookSpec {
  /** `renderHookKey(point)`. */
  readonly key: string;
  readonly point: HookPoint;
  /** In running order, at least one. */
  readonly members: readonly HookMember[];
}

/** One thing a rule list decides by: its number in the program, and where it was asked for. */
export interface RuleRef {
  /** Index in the counters and in events; 0 is "no rule". */
  readonly index: number;
  /** Stable across edits, so that counts are carried: 64 bits as decimal text. */
  readonly id: string;
  /** As people read it: `10.10.10.0/24`. */
  readonly text: string;
  readonly origin: Origin;
}

/** What one object became in one feature; everything needed to read it back and to explain it. */
export interface FeatureInstance {
  readonly feature: string;
  readonly owner: ObjectRef;
  readonly key: string;
  readonly programs: readonly string[];
  /** Role → `MapSpec.key`. */
  readonly maps: Readonly<Record<string, string>>;
  readonly rules: readonly RuleRef[];
  /**
   * `HookSpec.key`s at which it works, where programs and maps are another's and serve several owners: what becomes
   * of all of them is told of this owner too.
   */
  readonly hooks?: readonly string[] | undefined;
  /** Feature-specific, plain JSON. */
  readonly data: unknown;
}

/** Why a wish is not (yet) in the plan. */
export interface PlanProblem {
  readonly origin: Origin;
  /** Condition reason, CamelCase. */
  readonly reason: string;
  readonly message: string;
  /** `refused`: will not be served as asked. `waiting`: served when the world changes (an interface appears). `note`: served; the user should know. */
  readonly severity: "refused" | "waiting" | "note";
}

/** Reason of the note that an object does not mean this node. */
export const notSelectedReason = "nodeNotSelected";

/** Everything one node's kernel should hold for us. A value: equal declarations and facts, equal plan. */
export interface NodePlan {
  readonly maps: readonly MapSpec[];
  readonly programs: readonly ProgramSpec[];
  readonly hooks: readonly HookSpec[];
  readonly instances: readonly FeatureInstance[];
  readonly problems: readonly PlanProblem[];
}

export const emptyPlan: NodePlan = { maps: [], programs: [], hooks: [], instances: [], problems: [] };
