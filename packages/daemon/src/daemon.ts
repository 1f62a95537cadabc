import type { ObjectRef } from "@bpfleet/base";
import type { Decision, Feature, InstanceCounters, SampledPackets } from "@bpfleet/features";
import type { HookCounters } from "./counters.ts";
import type { Proxies } from "@bpfleet/oci/local";
import type { PinAccess } from "@bpfleet/native";
import type { PullSecrets } from "./bytecode/bytecode-watch.ts";
import type {
  BytecodeSource,
  EndpointWish,
  Inventory,
  ItemResult,
  KernelPort,
  NodeFacts,
  NodePlan,
  ObservedKernel,
  PolicyReach,
  PolicySettings,
  XdpMode,
} from "@bpfleet/kernel";
import type { TlsPaths } from "./tls/tls-files.ts";

/**
 * The part of bpfleet that talks to the kernel. It holds one plan and keeps it true; whoever makes
 * the plan (the agent, in the same process) hands it in and reads back what became of it.
 */
export interface Daemon extends AsyncDisposable {
  /** The node as it is now; a new object whenever anything in it changed. */
  facts(): NodeFacts;
  /** Called after every change of `facts()`; returns the end of the subscription. */
  onFacts(callback: (facts: NodeFacts) => void): () => void;
  /** cgroup v2 paths to look for; those that exist appear in `facts().cgroups`. Replaces the earlier list. */
  watchCgroups(paths: readonly string[]): void;
  /**
   * Pods whose traffic is to be judged; where that can be appears in `facts().endpoints`, by their keys. Replaces the
   * earlier list; resolves when all of it was looked for once. `reach`: where policies may select pods that are not in it.
   */
  watchEndpoints(wishes: readonly EndpointWish[], reach?: PolicyReach): Promise<void>;
  /**
   * Objects to fetch, verify and read; what becomes of them appears in `facts().bytecode`. Replaces the
   * earlier list. `secrets`: `data` of the Secrets that sources name.
   */
  watchBytecode(sources: readonly BytecodeSource[], secrets: PullSecrets): void;
  /**
   * Makes this the plan to keep true. `complete` says that every declaration was read: only then is
   * anything removed that the plan does not name, and the plan kept for the next start. Returns the revision
   * under which the results tell of it.
   */
  setPlan(plan: NodePlan, options: { readonly complete: boolean }): number;
  /** The plan that is to be in force, also that of an earlier agent; long lists of rules may be missing from it. */
  lastPlan(): NodePlan;
  /** What became of the plan. */
  results(): DaemonResults;
  /** Called after every change of `results()`. */
  onChange(callback: (results: DaemonResults) => void): () => void;
  /** Resolves as soon as the present plan was tried once as a whole; what failed is in the results. */
  settled(): Promise<DaemonResults>;
  /** Counters of every instance of the plan, read now. */
  counters(): Promise<readonly InstanceCounters[]>;
  /** What the members of each shared hook did, read now. */
  hookCounters(): Promise<readonly HookCounters[]>;
  /** Detaches everything and leaves it so, over restarts too, until `resume`. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Runs the packet through the twins of a hook's programs; nothing in the kernel changes. */
  explain(request: ExplainRequest): Promise<Explanation>;
  /** Sampled verdicts as they happen. The sampling stops with the last subscriber. */
  trace(options: TraceOptions, onEvents: (events: readonly TraceEvent[]) => void): Promise<AsyncDisposable>;
  /** Flows that rules log: the last lines of JSON, oldest first. */
  recentLog(): readonly string[];
  /** Called with each further line; returns the end of the subscription. */
  onLog(callback: (lines: readonly string[]) => void): () => void;
  /** What the kernel holds of ours now, with the entries of these maps (keys of a plan, for `diffPlan`). */
  observe(withEntries: readonly string[]): Promise<ObservedKernel>;
  /** Everything on the machine, ours and foreign. */
  inventory(): Promise<Inventory>;
  version(): DaemonVersion;
  /** Ends the loop and the API. What is in the kernel stays in force. */
  stop(): Promise<void>;
}

/** What an agent needs of its daemon, in the same process or in another. */
export interface AgentDaemon extends Pick<
  Daemon,
  "facts" | "onFacts" | "results" | "onChange" | "settled" | "counters"
> {
  /** Where a promise is given back: `facts()` tell of them when it resolves, or nobody can tell now. */
  watchCgroups(paths: readonly string[]): void | Promise<void>;
  watchEndpoints(wishes: readonly EndpointWish[], reach?: PolicyReach): void | Promise<void>;
  watchBytecode(sources: readonly BytecodeSource[], secrets: PullSecrets): void | Promise<void>;
  setPlan(plan: NodePlan, options: { readonly complete: boolean }): void;
  /** As `Daemon` has it; throws while it cannot be reached. */
  lastPlan(): NodePlan | Promise<NodePlan>;
}

export interface DaemonOptions {
  readonly nodeName: string;
  /** Version of the product, for `version()` and the build metric. */
  readonly version: string;
  /** Directory on which a bpffs is mounted; our pins lie in `<bpffs>/bpfleet`. */
  readonly bpffs: string;
  /** Directory for what must survive a reboot; made with mode 0700 when it is not there. */
  readonly state: string;
  /** Unix socket of the API; made with mode 0600. */
  readonly socket: string;
  /** The list of BPF objects, `objects.json`; the objects lie beside it. */
  readonly objects: string;
  readonly features: readonly Feature[];
  /** Where Prometheus reads; `undefined` serves no metrics. */
  readonly metrics?: MetricsAddress | undefined;
  /** Whole seconds between two looks at the kernel when nothing happens; 10 when not given. */
  readonly driftSeconds?: number | undefined;
  readonly log?: LogOptions | undefined;
  /** File descriptor for the lines of flows that rules log; they are only kept for who asks when not given. */
  readonly flowLogFd?: number | undefined;
  /** Where programs that people bring come from; nothing is fetched without it. */
  readonly bytecode?: BytecodeOptions | undefined;
  /** Where an agent in another process hands in its plans; `undefined` serves none. */
  readonly agent?: AgentAccess | undefined;
  /** Who may open the maps below `<bpffs>/maps`; root alone when not given. */
  readonly pinAccess?: PinAccess | undefined;
  /** Mount a bpffs where none is; otherwise that is an error. */
  readonly mountBpffs?: boolean | undefined;
  /** How XDP is to run on interfaces, by name; as well as it can on the others. */
  readonly xdpModes?: Readonly<Record<string, XdpMode>> | undefined;
  /** Attach tc programs by cls_bpf filters even where the kernel has TCX. */
  readonly legacyTc?: boolean | undefined;
  /** How policies are judged on this node, beside what they say. */
  readonly policySettings?: PolicySettings | undefined;
  /** The kernel; the real one through the native addon when not given. */
  readonly kernel?: KernelPort | undefined;
}

export interface AgentAccess {
  /** Unix socket of PlanService, beside that of the API; made with mode 0600, or 0660 for `group`. */
  readonly socket: string;
  readonly tls: TlsPaths;
  /** Whose processes may connect; the certificate decides in any case. */
  readonly group?: number | undefined;
}

export interface BytecodeOptions {
  /** Directory of what was fetched; `<state>/content` when not given. */
  readonly store?: string | undefined;
  /** File that says which signatures are asked for; without one nobody looks. */
  readonly policy?: string | undefined;
  /** The file of the policy need not be there; nobody looks then. Otherwise its absence refuses every image. */
  readonly mayLackPolicy?: boolean | undefined;
  /** Directory of `<host>/hosts.toml` files: where images are to be had in place of their host. */
  readonly mirrors?: string | undefined;
  /** By which proxies registries are reached, as `readProxies` reads them from an environment; straight when not given. */
  readonly proxies?: Proxies | undefined;
  /** Between two looks at what an image with pull policy Always is now; five minutes when not given, Infinity is never. */
  readonly checkMs?: number | undefined;
}

export type MetricsAddress = { readonly port: number; readonly host?: string | undefined } | { readonly unix: string };

export interface LogOptions {
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "silent";
  /** File descriptor; 2 when not given. */
  readonly fd?: number | undefined;
}

export interface DaemonResults {
  /** Counts the plans since the start; 0 is the plan found on disk, or none. */
  readonly revision: number;
  /** Whether the plan was said to be complete: only then is what it does not name removed. */
  readonly isComplete: boolean;
  /** Nothing is pending but retries of what failed. */
  readonly isSettled: boolean;
  readonly isPaused: boolean;
  /** One per map, program and hook of the plan, in its order. */
  readonly items: readonly ItemResult[];
  /** What the plan no longer names and what could not be removed; not given when there is nothing. */
  readonly leftovers?: readonly ItemResult[] | undefined;
  /** What others changed and the loop put right, newest last, at most 100. */
  readonly healed: readonly Healed[];
  /** Of the last change that reached the kernel: milliseconds from `setPlan` to in force. */
  readonly applyMs: number | undefined;
  /** The kernel could not be observed at all, in words. */
  readonly trouble: string | undefined;
  /** Why what is in force is not on the disk, where the next boot looks for it. */
  readonly notKept?: string | undefined;
}

export interface Healed {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly item: "map" | "program" | "hook";
  readonly key: string;
  /** `the link was removed`. */
  readonly what: string;
}

export interface ExplainRequest {
  /** `HookSpec.key`: `xdp/eth0`. */
  readonly hook: string;
  /** Ethernet frame. */
  readonly packet: Uint8Array;
}

export interface Explanation {
  readonly hook: string;
  readonly steps: readonly ExplainStep[];
  /** Code and name of the verdict that the hook gives: 1 `XDP_DROP`. */
  readonly verdict: number;
  readonly verdictName: string;
  readonly passes: boolean;
  /** Why the hook is not as it was explained: what was there before decides, if anything. */
  readonly notInForce?: string | undefined;
}

export interface ExplainStep {
  readonly program: string;
  readonly owner?: ObjectRef | undefined;
  readonly verdict: number;
  readonly verdictName: string;
  /** In words, when the feature of the program can tell. */
  readonly decision?: Decision | undefined;
  /** The next member runs after this verdict. */
  readonly proceeds: boolean;
}

export interface TraceOptions {
  /** One packet in `every` is reported; 1 reports each. */
  readonly every: number;
  /** Programs that know no flows report drops where `flow` is asked for. */
  readonly only: SampledPackets;
  /** Only events of programs that this object owns. */
  readonly owner?: ObjectRef | undefined;
}

export interface TraceEvent {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly program: string;
  readonly ifindex: number;
  readonly interface: string;
  readonly decision: Decision;
  readonly lengthBytes: number;
  /** The packet's first bytes, at most 128, from this layer on. */
  readonly head: Uint8Array;
  readonly layer: "ethernet" | "network";
  /** It passes, and is the first of a flow. */
  readonly opensFlow?: true | undefined;
  /** About how many like it were not told since the one before, as too many came. */
  readonly missed?: number | undefined;
}

export interface DaemonVersion {
  readonly version: string;
  readonly kernel: string;
  readonly node: string;
  readonly libbpf: string;
}
