import type { ObjectRef } from "@bpfleet/base";
import type { Inventory, MapDefinition, MapEntries } from "@bpfleet/kernel";

/** Everything of BPF on this machine, and the entries of maps: what `MachineService` serves. */
export interface Machine {
  survey(options: SurveyOptions): Promise<Survey>;
  readMap(request: ReadMapRequest): Promise<MapReading>;
  writeMap(request: WriteMapRequest): Promise<void>;
}

export interface SurveyOptions {
  /** Count runs and run time of every program for so long; 0: do not. */
  readonly sampleMs: number;
  /** Count the entries of maps. */
  readonly withEntries: boolean;
}

export interface Survey {
  readonly inventory: Inventory;
  readonly processes: readonly HoldingProcess[];
  readonly maps: readonly MapUse[];
  readonly places: readonly ProgramPlace[];
  readonly owners: readonly KeyOwner[];
  readonly findings: readonly Finding[];
  readonly sample?: Sample | undefined;
}

/** A process that holds descriptors of BPF. */
export interface HoldingProcess {
  readonly pid: number;
  readonly command: string;
  /** Path in the cgroup v2 hierarchy; "" when it cannot be told. */
  readonly cgroup: string;
  readonly podUid?: string | undefined;
  readonly containerId?: string | undefined;
  readonly programIds: readonly number[];
  readonly mapIds: readonly number[];
  readonly linkIds: readonly number[];
}

export interface MapUse {
  readonly mapId: number;
  readonly memoryBytes: bigint;
  /** `undefined` where entries cannot be counted or were not. */
  readonly entries?: number | undefined;
  /** There are more than were counted. */
  readonly isAtLeast: boolean;
  readonly isFrozen: boolean;
}

export interface ProgramPlace {
  readonly programId: number;
  readonly hook: string;
  /** From 1. */
  readonly position: number;
  readonly members: number;
}

export interface KeyOwner {
  readonly key: string;
  readonly owner?: ObjectRef | undefined;
  readonly objectDigest?: string | undefined;
  readonly imageDigest?: string | undefined;
}

export interface Finding {
  /** Ours without a plan; somebody else on a hook of ours; what was put right. */
  readonly kind: "orphan" | "conflict" | "healed";
  readonly key: string;
  readonly text: string;
}

/** What ran while the kernel's statistics were on. */
export interface Sample {
  readonly windowMs: number;
  /** Turning them on and off. */
  readonly switchingMs: number;
  readonly runs: readonly { readonly programId: number; readonly runs: bigint; readonly timeNs: bigint }[];
}

export type MapRef =
  | { readonly by: "id"; readonly id: number }
  | { readonly by: "pin-path"; readonly path: string }
  | { readonly by: "key"; readonly key: string };

export interface ReadMapRequest {
  readonly map: MapRef;
  /** Only this entry. */
  readonly key?: Uint8Array | undefined;
  /** Not more entries than this; 0: none. */
  readonly max: number;
}

export interface MapReading {
  readonly id: number;
  readonly name: string;
  readonly definition: MapDefinition;
  /** The plan's key when it is ours. */
  readonly ours?: string | undefined;
  readonly isFrozen: boolean;
  readonly memoryBytes: bigint;
  readonly types?: MapTypes | undefined;
  readonly entries: MapEntries;
  /** Values that lie in each entry, each padded to 8 bytes; 0 unless the map is per CPU. */
  readonly cpus: number;
  readonly isWhole: boolean;
}

export interface MapTypes {
  /** Raw BTF. */
  readonly btf: Uint8Array;
  /** 0: not known. */
  readonly keyTypeId: number;
  readonly valueTypeId: number;
}

export interface WriteMapRequest {
  readonly map: MapRef;
  readonly puts: MapEntries;
  readonly deletes: MapEntries;
  /** Also when the map is not ours. */
  readonly force: boolean;
}
