import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type {
  Batch,
  BtfInfo,
  ClsBpfState,
  Global,
  HookState,
  Instructions,
  LinkInfo,
  MapDefinition,
  MapInfo,
  ProgramDefinition,
  ProgramInfo,
  TestRunInput,
  TestRunResult,
} from "./answers.ts";

export interface NativeHandle {
  readonly fd: number;
  closeNow(): void;
  close(): Promise<void>;
}
export interface NativeLoaded {
  take(): NativeHandle | null;
  readonly log: string;
}
export interface NativeRing {
  readonly delivered: bigint;
  close(): Promise<void>;
}
export interface NativeNetlink {
  send(bytes: Uint8Array): Promise<void>;
  taken(count: number): void;
  close(): Promise<void>;
}
export interface NativeObject {
  readonly license: string;
  maps(): MapDefinition[];
  programs(): ProgramDefinition[];
  globals(): Global[];
  btf(): Buffer;
  setBytes(section: string, offset: number, bytes: Uint8Array): void;
  prepare(): Promise<void>;
  load(): Promise<void>;
  verifierLog(program: string): string;
  map(name: string): NativeHandle;
  program(name: string): NativeHandle;
  instructions(name: string): Instructions;
  close(): Promise<void>;
}
export interface NativeHook {
  kind: string;
  name: string;
  attachType: string;
  ifindex?: number;
  path?: string;
  tracepoint?: string;
  offset?: bigint;
  isReturn?: boolean;
}
export interface NativePlacement {
  flags: number;
  relativeId?: number;
  expectedRevision?: bigint;
}
export interface NativeClsBpf {
  ifindex: number;
  isEgress: boolean;
  handle: number;
  priority: number;
}
export type NativeProgramInfo = Omit<ProgramInfo, "loadedAt"> & { loadedAtMs: number };
export interface Native {
  Object: { open(elf: Uint8Array, spec: object): NativeObject };
  libbpfVersion(): string;
  possibleCpus(): number;
  openNetns(path: string): NativeHandle;
  listPrograms(): Promise<NativeProgramInfo[]>;
  listMaps(): Promise<MapInfo[]>;
  listLinks(): Promise<LinkInfo[]>;
  listBtfs(): Promise<BtfInfo[]>;
  rawBtf(id: number): Buffer;
  loadBtf(bytes: Uint8Array): NativeHandle;
  enableStats(): NativeHandle;
  pin(handle: NativeHandle, path: string): void;
  lockPath(path: string): NativeHandle;
  mountBpffs(path: string): Promise<void>;
  unmount(path: string): Promise<void>;
  isBpffs(path: string): boolean;
  cgroupId(path: string): bigint;
  mapById(id: number): NativeHandle;
  mapByPin(path: string, isReadOnly: boolean): NativeHandle;
  mapInfo(map: NativeHandle): MapInfo;
  createMap(spec: object): NativeHandle;
  mapLookup(map: NativeHandle, key: Uint8Array, flags: number): Buffer | null;
  mapLookupInto(map: NativeHandle, key: Uint8Array, out: Uint8Array, flags: number): boolean;
  mapUpdate(map: NativeHandle, key: Uint8Array, value: Uint8Array, flags: number): void;
  mapDelete(map: NativeHandle, key: Uint8Array): boolean;
  mapNextKey(map: NativeHandle, key?: Uint8Array): Buffer | null;
  mapRead(map: NativeHandle, max: number | undefined, andDelete: boolean): Promise<Batch>;
  mapUpdateBatch(
    map: NativeHandle,
    keys: Uint8Array,
    values: Uint8Array,
    count: number,
    flags: number,
  ): Promise<number>;
  mapDeleteBatch(map: NativeHandle, keys: Uint8Array, count: number): Promise<number>;
  mapFreeze(map: NativeHandle): void;
  mapWriteMemory(map: NativeHandle, bytes: Uint8Array, offset: number): void;
  mapReadMemory(map: NativeHandle, offset: number, length: number): Buffer;
  readRing(
    map: NativeHandle,
    onBatch: (bytes: Buffer, count: number) => void,
    maxRecords: number,
    pollMs: number,
  ): NativeRing;
  programById(id: number): NativeHandle;
  programByPin(path: string): NativeHandle;
  programInfo(program: NativeHandle): NativeProgramInfo;
  bindMap(program: NativeHandle, map: NativeHandle): void;
  programXlated(program: NativeHandle): Buffer;
  loadProgram(spec: object): Promise<NativeLoaded>;
  testRun(program: NativeHandle, run: TestRunInput): Promise<TestRunResult>;
  attach(program: NativeHandle, hook: NativeHook, place: NativePlacement, netns?: NativeHandle): Promise<NativeHandle>;
  attachDirect(program: NativeHandle, hook: NativeHook, flags: number, replace?: NativeHandle): Promise<void>;
  detachDirect(program: NativeHandle, hook: NativeHook): Promise<void>;
  queryHook(hook: NativeHook, netns?: NativeHandle): Promise<HookState>;
  attachClsBpf(program: NativeHandle, at: NativeClsBpf, replace: boolean, netns?: NativeHandle): Promise<ClsBpfState>;
  detachClsBpf(at: NativeClsBpf, netns?: NativeHandle): Promise<boolean>;
  queryClsBpf(at: NativeClsBpf, netns?: NativeHandle): Promise<ClsBpfState | null>;
  linkById(id: number): NativeHandle;
  linkByPin(path: string): NativeHandle;
  linkInfo(link: NativeHandle): LinkInfo;
  updateLink(link: NativeHandle, next: NativeHandle, expected?: NativeHandle): Promise<void>;
  detachLink(link: NativeHandle): Promise<void>;
  openNetlink(
    spec: object,
    netns: NativeHandle | undefined,
    onEvent: (bytes: Buffer, errno: number, namespaceId: number) => void,
  ): NativeNetlink;
}

const addonPath = join(import.meta.dirname, "../../../../build/native/bpfleet.node");
let loadedAddon: Native | undefined;

/** Loads the addon on the first call, so that importing this file needs no build. */
export function native(): Native {
  loadedAddon ??= load();
  return loadedAddon;
}

function load(): Native {
  if (!existsSync(addonPath)) throw new Error(`load ${addonPath}: not built; npm run build:native`);
  return createRequire(import.meta.url)(addonPath) as Native;
}
