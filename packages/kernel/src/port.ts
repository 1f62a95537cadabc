import type { ErrorCode, Retry } from "@bpfleet/base";
import type { HookPoint } from "./hook-point.ts";
import type { HookSpec, MapDefinition, MapEntries, MapSpec, ProgramSpec } from "./specs.ts";

/**
 * The kernel as the node uses it. Two implementations: the real one (packages/native) and the fake
 * (fake-kernel.ts); both pass kernel-port.contract.ts. Every method is idempotent for equal arguments,
 * keeps its state in pins only, and throws KernelError.
 */
export interface KernelPort {
  /** Everything of ours, read back from the pins and from the kernel. */
  observe(known?: KnownHooks): Promise<ObservedKernel>;
  /** Everything on the machine, ours and foreign. */
  inventory(): Promise<Inventory>;

  /** Creates, fills and freezes as `contents` says, and pins last: a map that is pinned is complete. */
  createMap(spec: MapSpec): Promise<void>;
  /**
   * All entries; per-CPU values one after the other, each padded to 8 bytes; of maps of maps the slots that are in use,
   * with the ids of the maps there. `undefined` if it is not pinned.
   */
  readMap(identity: MapIdentity): Promise<MapEntries | undefined>;
  /** Bytes of kernel memory that it takes; `undefined` if it is not pinned. */
  mapMemory?(identity: MapIdentity): Promise<number | undefined>;
  /** Puts, then deletes. Refuses with code `full` before anything is changed when the entries do not fit. */
  writeMap(identity: MapIdentity, puts: MapEntries, deletes: MapEntries): Promise<void>;
  /**
   * Puts a map into a slot of a map that refers, in one step for all programs; when it resolves, none of them looks at
   * what was there before. Programs see it before anything that is begun after it. Refuses with code `invalid` what does not look like those that it was made for.
   */
  putReference(spec: MapSpec, slot: number, map: MapIdentity): Promise<void>;
  /** Leaves the slot empty. */
  dropReference(identity: MapIdentity, slot: number): Promise<void>;
  /** Removes its pins, the user's too. */
  removeMap(identity: MapIdentity): Promise<void>;
  /**
   * The second pin, at a path of the user's choice on a bpffs; takes it over in one step from another
   * generation of ours, and refuses with code `exists` when anything else is there.
   */
  pinMap(identity: MapIdentity, pinPath: string): Promise<void>;
  /** Removes that pin if it is still ours. */
  unpinMap(identity: MapIdentity, pinPath: string): Promise<void>;
  /** Calls `onRecords` with the records of a ring buffer as they come; `close` ends it. */
  readRing(identity: MapIdentity, onRecords: (records: Iterable<Uint8Array>) => void): Promise<AsyncDisposable>;

  /** Loads and pins; `maps` gives the identity of every map that the spec names. */
  loadProgram(spec: ProgramSpec, identity: ProgramIdentity, maps: ReadonlyMap<string, MapIdentity>): Promise<void>;
  removeProgram(identity: ProgramIdentity): Promise<void>;
  /** Loads the twin (not pinned), runs it over the packet, and returns what it left in the private map `scratch`. */
  testRun(request: TestRun): Promise<TestRunResult>;

  /** Attaches or replaces in one step; no packet passes between the old and the new state. */
  setHook(request: HookRequest): Promise<HookResult>;
  clearHook(key: string): Promise<void>;
  /** Verdict counters of a chain (chain/counters.ts reads them); `undefined` when no chain is there. */
  readHook(key: string): Promise<HookReading | undefined>;

  /** Removes every pin of ours, with what hangs on them. */
  removeEverything(): Promise<void>;
}

/** `key` is stable; `generation` is the fingerprint of everything that makes this one different. */
export interface Identity {
  readonly key: string;
  readonly generation: string;
}
export type MapIdentity = Identity;
export type ProgramIdentity = Identity;

export interface ObservedMap extends MapIdentity {
  readonly mapId: number;
  readonly definition: MapDefinition;
  /** User's pin paths that lead to this map now. */
  readonly pinPaths: readonly string[];
  /** Read by `observePlan` for maps whose contents are kept, and for maps of maps; `observe` leaves it out. */
  readonly entries?: MapEntries | undefined;
}

export interface ObservedProgram extends ProgramIdentity {
  readonly programId: number;
  readonly type: string;
  /** Of every map it uses, ours or not. */
  readonly mapIds: readonly number[];
}

/** Hooks that were looked at a moment ago and need not be looked at again. */
export interface KnownHooks {
  readonly hooks: readonly ObservedHook[];
  /** Keys of those that are looked at all the same, whether they are among them or not. */
  readonly again: ReadonlySet<string>;
}

export interface ObservedHook {
  readonly key: string;
  /** `undefined` where the key was too long for a pin's name. */
  readonly point: HookPoint | undefined;
  /** Of the members, their order and how they run; `""` when it cannot be told. */
  readonly generation: string;
  /** Ids of the members' programs, in running order; empty when it cannot be told. */
  readonly members: readonly number[];
  /** False when the interface or cgroup under the link is gone or is another one by the same name. */
  readonly isAttached: boolean;
  readonly linkId: number;
  readonly programId: number;
  readonly result: HookResult;
}

export interface ObservedKernel {
  readonly maps: readonly ObservedMap[];
  readonly programs: readonly ObservedProgram[];
  readonly hooks: readonly ObservedHook[];
}

/** In the driver, or in the generic path of the kernel that every interface has. */
export type XdpMode = "native" | "skb";

/** How a chain of several programs runs: copied into one program, or each called through a stub. */
export type MemberMode = "inline" | "stub";

export interface HookRequest {
  readonly spec: HookSpec;
  readonly generation: string;
  readonly members: readonly ChainMember[];
  /** XDP only. `native` falls back to `skb` never by itself: the caller decides. */
  readonly mode: XdpMode;
  /** What is there in another mode is attached anew in this one; else it stays as it is. */
  readonly isModeFixed?: boolean | undefined;
  /** Use cls_bpf even where TCX exists. */
  readonly legacyTc: boolean;
}

export interface ChainMember {
  readonly spec: ProgramSpec;
  readonly identity: ProgramIdentity;
  readonly maps: ReadonlyMap<string, MapIdentity>;
  readonly mode: MemberMode;
  readonly proceedOn: readonly number[];
  /** It is not what `spec` says: that cannot be loaded, and what was loaded before runs on, as a stub. */
  readonly isEarlier?: boolean | undefined;
}

export interface HookResult {
  /** `native`/`skb` for XDP; `tcx`/`cls_bpf` for tc; else the hook. */
  readonly mode: string;
  /** `direct` when one program is attached by itself. */
  readonly chain: "direct" | "chain";
  readonly memberModes: readonly MemberMode[];
  /** Why it is not the mode that was asked for: what the kernel said. */
  readonly reason?: string | undefined;
}

export interface HookReading {
  readonly generation: string;
  /** One row per member, each with all CPUs: what `readChainCounters` takes. */
  readonly values: Uint8Array;
}

export interface TestRun {
  readonly spec: ProgramSpec;
  readonly maps: ReadonlyMap<string, MapIdentity>;
  /** Ethernet frame (network-layer packet for cgroup_skb is cut by the implementation). */
  readonly packet: Uint8Array;
  readonly ifindex?: number | undefined;
  readonly scratch: string;
  readonly repeat?: number | undefined;
}

export interface TestRunResult {
  readonly verdict: number;
  readonly packet: Uint8Array;
  readonly scratch: Uint8Array;
  readonly nsPerRun: number;
}

export interface Inventory {
  readonly programs: readonly InventoryProgram[];
  readonly maps: readonly InventoryMap[];
  readonly links: readonly InventoryLink[];
}

export interface InventoryProgram {
  readonly id: number;
  readonly type: string;
  readonly name: string;
  readonly tag: string;
  readonly loadedAt: string;
  readonly uid: number;
  readonly mapIds: readonly number[];
  readonly runCount: bigint;
  readonly runTimeNs: bigint;
  readonly verifiedInsns: number;
  readonly jitedBytes: number;
  /** The plan key when it is ours; `undefined` is foreign. */
  readonly ours?: string | undefined;
}

export interface InventoryMap {
  readonly id: number;
  readonly type: string;
  readonly name: string;
  readonly definition: Omit<MapDefinition, "type">;
  readonly ours?: string | undefined;
}

export interface InventoryLink {
  readonly id: number;
  readonly type: string;
  readonly programId: number;
  readonly target: string;
  readonly ours?: string | undefined;
}

/** What became of one item of the plan. */
export interface ItemResult {
  readonly item: "map" | "program" | "hook";
  readonly key: string;
  readonly state: "in-force" | "failed" | "withheld";
  readonly error?: ItemError | undefined;
  readonly hook?: HookResult | undefined;
  /**
   * Of a hook: keys of programs that cannot be loaded as planned, whose earlier generation runs there meanwhile. Of a map
   * of maps: keys of maps that cannot be put there, in whose place what was there before stays.
   */
  readonly earlier?: readonly string[] | undefined;
}

export interface ItemError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly detail?: string | undefined;
  /** When trying again can help; not given where the item only waits for another one. */
  readonly retry?: Retry | undefined;
  /** It is not of one place: the process or the machine lacks something. */
  readonly isShortage?: boolean | undefined;
}
