/** What the addon answers, in plain values. */

export type XdpMode = "native" | "skb" | "hw";

export interface MapDefinition {
  readonly name: string;
  readonly type: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** .rodata, .data, .bss, .kconfig */
  readonly isInternal: boolean;
  /** The object asks for LIBBPF_PIN_BY_NAME, whether that is followed or not. */
  readonly isPinnedByName: boolean;
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
}

export interface ProgramDefinition {
  readonly name: string;
  readonly section: string;
  readonly type: string;
  readonly expectedAttachType?: string;
  readonly flags: number;
  readonly instructionCount: number;
  readonly isAutoloaded: boolean;
}

/** A variable that can be set before the load. */
export interface Global {
  readonly name: string;
  readonly section: string;
  readonly offset: number;
  readonly size: number;
  /** In the object's own BTF. */
  readonly typeId: number;
  /** What one element is; structs are bytes. */
  readonly kind: "int" | "float" | "bytes";
  readonly elementSize: number;
  /** 1, or the length of the array with all its dimensions. */
  readonly count: number;
  readonly isSigned: boolean;
}

/** A program as libbpf would hand it to the kernel: relocated, its maps being descriptors of the open object. */
export interface Instructions {
  readonly insns: Buffer;
  readonly funcInfo: Buffer;
  readonly funcInfoRecSize: number;
  readonly lineInfo: Buffer;
  readonly lineInfoRecSize: number;
  readonly btf?: Buffer;
  /** Of the object's BTF in the kernel, -1 without. */
  readonly btfFd: number;
  readonly license: string;
  readonly type: string;
  readonly expectedAttachType?: string;
  readonly flags: number;
  /** What the instructions refer to, in order of appearance. */
  readonly maps: readonly { readonly fd: number; readonly name: string }[];
  /** It calls functions of a kernel module, through a descriptor table that is not handed out. */
  readonly needsModuleBtf: boolean;
}

export interface MapInfo {
  readonly id: number;
  readonly type: string;
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly btfId: number;
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
  readonly ifindex: number;
  readonly extra: bigint;
}

/** Keys and values one behind the other; a per-CPU value is `wholeValueSize` bytes. */
export interface Batch {
  readonly keys: Buffer;
  readonly values: Buffer;
  readonly count: number;
}

export interface LinkInfo {
  readonly id: number;
  readonly type: string;
  readonly programId: number;
  readonly ifindex?: number;
  readonly attachType?: string;
  readonly cgroupId?: bigint;
  readonly netnsInode?: number;
  readonly tracepoint?: string;
  readonly targetProgramId?: number;
  readonly mapId?: number;
}

export interface ProgramInfo {
  readonly id: number;
  readonly type: string;
  readonly name: string;
  readonly tag: string;
  readonly mapIds: readonly number[];
  readonly btfId: number;
  readonly loadedAt: Date;
  readonly runTimeNs: bigint;
  readonly runCount: bigint;
  readonly recursionMisses: bigint;
  readonly verifiedInstructions: number;
  readonly jitedSize: number;
  readonly xlatedSize: number;
  readonly gplCompatible: boolean;
  readonly uid: number;
  readonly ifindex: number;
}

export interface BtfInfo {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  readonly isKernel: boolean;
}

export interface HookState {
  /** Counts changes of tcx and netkit hooks, and cgroups on newest kernels; else 0. */
  readonly revision: bigint;
  readonly programs: readonly number[];
  /** One for each program; 0 where there is none, or the hook does not tell (cgroups and namespaces: use list("link")). */
  readonly links: readonly number[];
  readonly attachFlags: number;
  /** XDP only. */
  readonly mode?: XdpMode | "multi";
  /** XDP only: NETDEV_XDP_ACT_* of the driver; 0 before Linux 6.3. */
  readonly features?: bigint;
}

export interface ClsBpfState {
  readonly handle: number;
  readonly priority: number;
  readonly programId: number;
}

export interface TestRunInput {
  data?: Uint8Array;
  ctx?: Uint8Array;
  repeat?: number;
  /** BPF_F_TEST_RUN_ON_CPU 1, BPF_F_TEST_XDP_LIVE_FRAMES 2 */
  flags?: number;
  batchSize?: number;
  cpu?: number;
}

export interface TestRunResult {
  readonly retval: number;
  readonly data: Buffer;
  readonly ctx: Buffer;
  /** Mean of the repeats. */
  readonly durationNs: number;
}
