/**
 * The kernel's BPF as typed classes: descriptors and calls, no policy.
 *
 * Everything that can sleep returns a promise and runs off the event loop. Every object owns its descriptor: close it, or
 * hold it with `using`. A closed one answers with a BpfError of code "closed". Failures of the world are BpfErrors; wrong
 * sizes and types of arguments are RangeErrors and TypeErrors.
 */
import { createRequire } from "node:module";
import { constants } from "node:os";

// ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export type BpfErrorCode =
  | "not-permitted"
  | "not-found"
  | "exists"
  | "busy"
  | "invalid"
  | "not-supported"
  | "too-big"
  | "no-space"
  | "stale"
  | "verifier"
  | "no-btf"
  | "not-elf"
  | "closed"
  | "other";

export interface BpfErrorDetails {
  readonly code: BpfErrorCode;
  readonly errno: number;
  readonly errnoName: string;
  readonly op: string;
  readonly verifierLog: string;
  readonly warnings: string;
}

/** The kernel or libbpf refused. `message` is one line; the whole log is in `verifierLog`, libbpf's words in `warnings`. */
export class BpfError extends Error {
  override readonly name = "BpfError";
  readonly code: BpfErrorCode;
  readonly errno: number;
  readonly errnoName: string;
  readonly op: string;
  readonly verifierLog: string;
  readonly warnings: string;

  constructor(message: string, details: BpfErrorDetails) {
    super(message);
    this.code = details.code;
    this.errno = details.errno;
    this.errnoName = details.errnoName;
    this.op = details.op;
    this.verifierLog = details.verifierLog;
    this.warnings = details.warnings;
  }
}

const ENOTSUPP = 524;
const errnoNames = new Map<number, string>(Object.entries(constants.errno).map(([name, errno]) => [errno, name]));
errnoNames.set(constants.errno.EAGAIN, "EAGAIN");
errnoNames.set(constants.errno.EOPNOTSUPP, "EOPNOTSUPP");
errnoNames.set(ENOTSUPP, "ENOTSUPP");

/** LIBBPF_ERRNO__START of libbpf.h and the names that follow it. */
const libbpfErrnoStart = 4000;
const libbpfErrnoNames =
  "LIBELF FORMAT KVERSION ENDIAN INTERNAL RELOC LOAD VERIFY PROG2BIG KVER PROGTYPE WRNGPID INVSEQ NLPARSE";
for (const [index, name] of libbpfErrnoNames.split(" ").entries())
  errnoNames.set(libbpfErrnoStart + index, `LIBBPF_${name}`);

const codes: Readonly<Record<string, BpfErrorCode>> = {
  EPERM: "not-permitted",
  EACCES: "not-permitted",
  EROFS: "not-permitted",
  ENOENT: "not-found",
  ENODEV: "not-found",
  ENXIO: "not-found",
  ESRCH: "not-found",
  EEXIST: "exists",
  EBUSY: "busy",
  EAGAIN: "busy",
  EINVAL: "invalid",
  EBADF: "invalid",
  ENOTDIR: "invalid",
  ERANGE: "invalid",
  EOPNOTSUPP: "not-supported",
  ENOTSUPP: "not-supported",
  ENOSYS: "not-supported",
  EPROTONOSUPPORT: "not-supported",
  EAFNOSUPPORT: "not-supported",
  E2BIG: "too-big",
  EMSGSIZE: "too-big",
  LIBBPF_PROG2BIG: "too-big",
  ENOSPC: "no-space",
  ENOMEM: "no-space",
  EMFILE: "no-space",
  ENFILE: "no-space",
  ESTALE: "stale",
};

const separator = "\u001f";
const tag = `bpfleet${separator}`;

/** The line of a verifier log that says why; what follows it are statistics. */
export function tellingLine(log: string): string {
  const statistics =
    /^(processed \d+ insns|verification time|stack depth|peak_states|-- (BEGIN|END) |\d+: \(|from \d+ to \d+)/;
  const lines = log.split("\n").map((line) => line.trim());
  return lines.findLast((line) => line !== "" && !statistics.test(line)) ?? "";
}

function decodeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (!error.message.startsWith(tag)) {
    // What napi says of an argument of the wrong type.
    const isMisuse = "code" in error && typeof error.code === "string" && /(Expected|InvalidArg)$/.test(error.code);
    return isMisuse ? new TypeError(error.message, { cause: error }) : error;
  }
  const [, op = "", object = "", number = "0", hint = "", text = "", warnings = "", verifierLog = ""] =
    error.message.split(separator);
  const errno = Number(number);
  if (hint === "range") return new RangeError(`${op} ${object}: ${text}`);
  const errnoName = errnoNames.get(errno) ?? `errno ${errno}`;
  const why = tellingLine(verifierLog);
  const code = (hint as BpfErrorCode) || (verifierLog ? "verifier" : (codes[errnoName] ?? "other"));
  const said = why
    ? `the verifier refused it: ${why}`
    : text.replace(/^[A-Z](?=[a-z ])/, (letter) => letter.toLowerCase());
  return new BpfError(`${op} ${object}: ${said} (${errnoName})`, {
    code,
    errno,
    errnoName,
    op,
    verifierLog,
    warnings,
  });
}

/** Every call into the addon goes through here, so that its errors leave as ours, with the caller's stack. */
function call<T>(run: () => T): T {
  try {
    const result = run();
    return result instanceof Promise
      ? (result.catch((error: unknown) => {
          throw decodeError(error);
        }) as T)
      : result;
  } catch (error) {
    throw decodeError(error);
  }
}

// ── The addon ───────────────────────────────────────────────────────────────────────────────────────────────────────

interface NativeHandle {
  readonly fd: number;
  closeNow(): void;
  close(): Promise<void>;
}
interface NativeLoaded {
  take(): NativeHandle | null;
  readonly log: string;
}
interface NativeRing {
  readonly delivered: bigint;
  close(): Promise<void>;
}
interface NativeNetlink {
  send(bytes: Uint8Array): Promise<void>;
  taken(count: number): void;
  close(): Promise<void>;
}
interface NativeObject {
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
interface NativeHook {
  kind: string;
  name: string;
  attachType: string;
  ifindex?: number;
  path?: string;
  tracepoint?: string;
}
interface NativePlacement {
  flags: number;
  relativeId?: number;
  expectedRevision?: bigint;
}
interface NativeClsBpf {
  ifindex: number;
  isEgress: boolean;
  handle: number;
  priority: number;
}
type NativeProgramInfo = Omit<ProgramInfo, "loadedAt"> & { loadedAtMs: number };
interface Native {
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
    onEvent: (bytes: Buffer, errno: number) => void,
  ): NativeNetlink;
}

const addonPath = new URL("../../../build/native/bpfleet.node", import.meta.url);
let loadedAddon: Native | undefined;

/** Loads the addon on the first call, so that importing this file needs no build. */
function native(): Native {
  loadedAddon ??= createRequire(import.meta.url)(addonPath.pathname) as Native;
  return loadedAddon;
}

/** The native descriptor behind an object of ours; outside this file nobody needs it. */
const handleOf = Symbol("handle");

abstract class Owner {
  readonly [handleOf]: NativeHandle;

  constructor(handle: NativeHandle) {
    this[handleOf] = handle;
  }

  /** The descriptor's number, -1 once closed. It stays ours: do not close it, do not keep it. */
  get fd(): number {
    return this[handleOf].fd;
  }

  get isClosed(): boolean {
    return this.fd < 0;
  }
}

/** Closing cannot sleep. */
abstract class QuickOwner extends Owner implements Disposable {
  close(): void {
    this[handleOf].closeNow();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

// ── Namespaces ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** A network namespace held open, for `inNetns`. */
export class Netns extends QuickOwner {
  /** `/run/netns/NAME`, `/proc/PID/ns/net` */
  static open(path: string): Netns {
    return new Netns(call(() => native().openNetns(path)));
  }
}

export function openNetns(path: string): Netns {
  return Netns.open(path);
}

/** Runs with a namespace's descriptor; a path is opened before the first await and closed when the work has begun. */
function withNetns<T>(netns: string | Netns | undefined, run: (handle?: NativeHandle) => T): T {
  if (netns === undefined) return call(() => run());
  if (netns instanceof Netns) return call(() => run(netns[handleOf]));
  using opened = Netns.open(netns);
  return call(() => run(opened[handleOf]));
}

// ── Programs in an ELF object ───────────────────────────────────────────────────────────────────────────────────────

export interface OpenOptions {
  /** Names the object in errors, and its .rodata, .data and .bss maps. */
  name?: string;
  /** Where maps with LIBBPF_PIN_BY_NAME are pinned and looked for. Without it nothing is pinned. */
  mapPinDir?: string;
  /** Maps to use in place of new ones, by name. */
  reuseMaps?: Readonly<Record<string, BpfMap>>;
  maxEntries?: Readonly<Record<string, number>>;
  /** The only programs to load; all of them when left out. */
  autoload?: readonly string[];
  /** For programs whose section name says nothing to libbpf. */
  programTypes?: Readonly<Record<string, { type: string; expectedAttachType?: string }>>;
  /** 1 or 2: keep the verifier's log of accepted programs too; 4: only its statistics. */
  kernelLogLevel?: number;
}

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

export type Scalar = number | bigint | boolean;
/** Strings are for char arrays, zero-filled; arrays may be shorter than the variable, the rest keeps its value. */
export type GlobalValue = Scalar | string | Uint8Array | readonly Scalar[];

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

export class BpfObject implements AsyncDisposable {
  readonly #object: NativeObject;
  /** As the object declares them, `maxEntries` applied. */
  readonly maps: readonly MapDefinition[];
  readonly programs: readonly ProgramDefinition[];
  readonly license: string;
  #globals: readonly Global[] | undefined;

  private constructor(object: NativeObject) {
    this.#object = object;
    this.maps = call(() => object.maps());
    this.programs = call(() => object.programs());
    this.license = call(() => object.license);
  }

  /** Parses an ELF object and applies the options; nothing reaches the kernel yet. */
  static open(elf: Uint8Array, options: OpenOptions = {}): BpfObject {
    const { reuseMaps = {}, maxEntries = {}, programTypes = {}, ...rest } = options;
    const reuse = Object.entries(reuseMaps);
    const closed = reuse.find(([, map]) => map.isClosed);
    if (closed) throw closedError("reuse", `map ${closed[0]}`);
    const spec = {
      ...rest,
      reuseNames: reuse.map(([name]) => name),
      reuseFds: reuse.map(([, map]) => map.fd),
      maxEntries,
      programTypes,
    };
    return new BpfObject(call(() => native().Object.open(elf, spec)));
  }

  /** The variables of .rodata, .data and .bss. */
  globals(): readonly Global[] {
    this.#globals ??= call(() => this.#object.globals());
    return this.#globals;
  }

  /** Sets a variable before the load; encoded by its type. */
  setGlobal(name: string, value: GlobalValue): void {
    const global = this.globals().find((each) => each.name === name);
    if (!global) {
      const details = {
        errno: constants.errno.ENOENT,
        errnoName: "ENOENT",
        op: "set",
        verifierLog: "",
        warnings: "",
      };
      throw new BpfError(`set global ${name}: no such variable (ENOENT)`, {
        code: "not-found",
        ...details,
      });
    }
    const bytes = encodeGlobal(global, value);
    call(() => this.#object.setBytes(global.section, global.offset, bytes));
  }

  setGlobals(values: Readonly<Record<string, GlobalValue>>): void {
    for (const [name, value] of Object.entries(values)) this.setGlobal(name, value);
  }

  /** The object's own type information. */
  btf(): Buffer {
    return call(() => this.#object.btf());
  }

  /** Creates maps and relocates instructions, without loading a program. A load may follow. */
  prepare(): Promise<void> {
    return call(() => this.#object.prepare());
  }

  load(): Promise<void> {
    return call(() => this.#object.load());
  }

  /** After prepare() or load(). Keep the object open until the instructions are loaded: it owns the map descriptors. */
  instructions(program: string): Instructions {
    return call(() => this.#object.instructions(program));
  }

  /** What the verifier said of a loaded program; needs `kernelLogLevel`. */
  verifierLog(program: string): string {
    return call(() => this.#object.verifierLog(program));
  }

  /** A descriptor of its own: close it; it outlives the object. After prepare() or load(). */
  map(name: string): BpfMap {
    return BpfMap[fromHandle](call(() => this.#object.map(name)));
  }

  /** A descriptor of its own: close it; it outlives the object. */
  program(name: string): BpfProgram {
    return BpfProgram[fromHandle](call(() => this.#object.program(name)));
  }

  close(): Promise<void> {
    return call(() => this.#object.close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const fromHandle = Symbol("fromHandle");

function closedError(op: string, object: string): BpfError {
  const details = {
    errno: constants.errno.EBADF,
    errnoName: "EBADF",
    op,
    verifierLog: "",
    warnings: "",
  };
  return new BpfError(`${op} ${object}: it is closed (EBADF)`, { code: "closed", ...details });
}

function encodeGlobal(global: Global, value: GlobalValue): Uint8Array {
  const misfit = (what: string): RangeError =>
    new RangeError(`set global ${global.name}: ${what}; it has ${global.size} bytes`);
  if (value instanceof Uint8Array) {
    if (value.length !== global.size) throw misfit(`${value.length} bytes given`);
    return value;
  }
  if (typeof value === "string") {
    if (global.elementSize !== 1) throw misfit("a string is for char arrays");
    const text = Buffer.from(value);
    if (text.length > global.size) throw misfit(`${text.length} bytes of text given`);
    return Buffer.concat([text], global.size);
  }
  if (global.kind === "bytes") throw misfit("a struct is set by its bytes");
  const values = Array.isArray(value) ? (value as readonly Scalar[]) : [value as Scalar];
  if (!Array.isArray(value) && global.count !== 1) throw misfit("an array is set by an array");
  if (values.length > global.count) throw misfit(`${values.length} elements given`);
  const bytes = Buffer.alloc(values.length * global.elementSize);
  for (const [index, each] of values.entries()) encodeScalar(bytes, index * global.elementSize, global, each);
  return bytes;
}

function encodeScalar(bytes: Buffer, offset: number, global: Global, value: Scalar): void {
  if (global.kind === "float") {
    if (global.elementSize === 8) bytes.writeDoubleLE(Number(value), offset);
    else bytes.writeFloatLE(Number(value), offset);
    return;
  }
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new RangeError(`set global ${global.name}: ${value} is not an integer; beyond 2^53 use a bigint`);
  }
  const bits = global.elementSize * 8;
  const number = BigInt(value);
  const [low, high] = global.isSigned
    ? [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n]
    : [0n, (1n << BigInt(bits)) - 1n];
  if (number < low || number > high)
    throw new RangeError(`set global ${global.name}: ${number} is not within ${low} and ${high}`);
  for (let index = 0; index < global.elementSize; index++) {
    bytes[offset + index] = Number(BigInt.asUintN(8, number >> BigInt(index * 8)));
  }
}

/** Type information in the kernel. */
export class Btf extends QuickOwner {
  static load(bytes: Uint8Array): Btf {
    return new Btf(call(() => native().loadBtf(bytes)));
  }
}

// ── Maps ────────────────────────────────────────────────────────────────────────────────────────────────────────────

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

export interface MapSpec {
  /** As bpftool writes it: hash, lru_hash, percpu_array, lpm_trie, ringbuf, hash_of_maps … */
  type: string;
  /** At most 15 bytes. */
  name: string;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags?: number;
  extra?: bigint;
  /** For maps of maps: one that looks like those to come. */
  innerMap?: BpfMap;
  btf?: Btf;
  btfKeyTypeId?: number;
  btfValueTypeId?: number;
}

/** Keys and values one behind the other; a per-CPU value is `wholeValueSize` bytes. */
export interface Batch {
  readonly keys: Buffer;
  readonly values: Buffer;
  readonly count: number;
}

/** BPF_ANY, BPF_NOEXIST, BPF_EXIST of linux/bpf.h. */
export const updateFlags = { any: 0, noexist: 1, exist: 2, lock: 4 } as const;

const perCpuTypes: ReadonlySet<string> = new Set([
  "percpu_hash",
  "percpu_array",
  "lru_percpu_hash",
  "percpu_cgroup_storage",
]);

export class BpfMap extends QuickOwner {
  #info: MapInfo | undefined;

  static [fromHandle](handle: NativeHandle): BpfMap {
    return new BpfMap(handle);
  }

  static create(spec: MapSpec): BpfMap {
    const { innerMap, btf, ...rest } = spec;
    if (innerMap?.isClosed) throw closedError("create", `map ${spec.name} of a map`);
    if (btf?.isClosed) throw closedError("create", `map ${spec.name} with BTF`);
    const inner = innerMap && { innerMapFd: innerMap.fd };
    const types = btf && { btfFd: btf.fd };
    return new BpfMap(call(() => native().createMap({ ...rest, ...inner, ...types })));
  }

  static openPinned(path: string, options: { readOnly?: boolean } = {}): BpfMap {
    return new BpfMap(call(() => native().mapByPin(path, options.readOnly ?? false)));
  }

  static fromId(id: number): BpfMap {
    return new BpfMap(call(() => native().mapById(id)));
  }

  get info(): MapInfo {
    this.#info ??= call(() => native().mapInfo(this[handleOf]));
    return this.#info;
  }

  /** Bytes of one value as read and written here: all possible CPUs' values where the map is per CPU. */
  get wholeValueSize(): number {
    const { type, valueSize } = this.info;
    return perCpuTypes.has(type) ? Math.ceil(valueSize / 8) * 8 * possibleCpus() : valueSize;
  }

  pin(path: string): void {
    call(() => native().pin(this[handleOf], path));
  }

  /** Queues and stacks take an empty key, and give without taking out. */
  getRaw(key: Uint8Array, flags = 0): Buffer | undefined {
    return call(() => native().mapLookup(this[handleOf], key, flags)) ?? undefined;
  }

  /** Reads into a buffer of `wholeValueSize` bytes; false when there is no such entry. */
  getInto(key: Uint8Array, out: Uint8Array, flags = 0): boolean {
    return call(() => native().mapLookupInto(this[handleOf], key, out, flags));
  }

  setRaw(key: Uint8Array, value: Uint8Array, flags = 0): void {
    call(() => native().mapUpdate(this[handleOf], key, value, flags));
  }

  /** False when there was no such entry. */
  deleteRaw(key: Uint8Array): boolean {
    return call(() => native().mapDelete(this[handleOf], key));
  }

  /** The first key, or the one after `key`; undefined at the end. */
  nextKeyRaw(key?: Uint8Array): Buffer | undefined {
    return call(() => native().mapNextKey(this[handleOf], key)) ?? undefined;
  }

  /**
   * The whole map, or about its first `max` entries. A hash that changes meanwhile may repeat or miss entries.
   * `andDelete` takes out what it reads, in one step per entry where the kernel can; then more than `max` may come.
   */
  readBatch(options: { max?: number; andDelete?: boolean } = {}): Promise<Batch> {
    return call(() => native().mapRead(this[handleOf], options.max, options.andDelete ?? false));
  }

  /** Writes entries in order, off the event loop; resolves with their number. Those before an error are written. */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number, flags = 0): Promise<number> {
    return call(() => native().mapUpdateBatch(this[handleOf], keys, values, count, flags));
  }

  /** Deletes entries; resolves with how many were there. */
  deleteBatch(keys: Uint8Array, count: number): Promise<number> {
    return call(() => native().mapDeleteBatch(this[handleOf], keys, count));
  }

  /** No more writes by system call; programs write on. */
  freeze(): void {
    call(() => native().mapFreeze(this[handleOf]));
  }

  /** Copies bytes into an array with BPF_F_MMAPABLE; a program may see the copy half done. */
  write(bytes: Uint8Array, offset = 0): void {
    call(() => native().mapWriteMemory(this[handleOf], bytes, offset));
  }

  read(offset: number, length: number): Buffer {
    return call(() => native().mapReadMemory(this[handleOf], offset, length));
  }

  /**
   * Reads a ring buffer on a thread of its own, many records a call. When the event loop falls behind, the ring fills and
   * the programs' reservations fail: loss is theirs to count. The reader keeps the process alive until it is closed.
   */
  ringbuf(onBatch: (records: RingBatch) => void, options: { maxRecords?: number; pollMs?: number } = {}): RingReader {
    return new RingReader(this, onBatch, options.maxRecords ?? 4096, options.pollMs ?? 1000);
  }
}

const recordHeader = 8;

/** Records of a ring buffer; each is a view of one shared buffer. */
export class RingBatch implements Iterable<Buffer> {
  readonly buffer: Buffer;
  readonly count: number;

  constructor(buffer: Buffer, count: number) {
    this.buffer = buffer;
    this.count = count;
  }

  *[Symbol.iterator](): Generator<Buffer, void, undefined> {
    const { buffer } = this;
    for (let at = 0; at < buffer.length;) {
      const from = at + recordHeader;
      const length = buffer.readUInt32LE(at);
      yield buffer.subarray(from, from + length);
      at = from + Math.ceil(length / recordHeader) * recordHeader;
    }
  }
}

export class RingReader implements AsyncDisposable {
  readonly #ring: NativeRing;
  #isClosed = false;

  constructor(map: BpfMap, onBatch: (records: RingBatch) => void, maxRecords: number, pollMs: number) {
    const deliver = (bytes: Buffer, count: number): void => {
      if (!this.#isClosed) onBatch(new RingBatch(bytes, count));
    };
    this.#ring = call(() => native().readRing(map[handleOf], deliver, maxRecords, pollMs));
  }

  /** Records handed over so far, those still queued included. */
  get delivered(): bigint {
    return this.#ring.delivered;
  }

  /** After this no callback runs; resolves when the thread has let go of the map. */
  close(): Promise<void> {
    this.#isClosed = true;
    return call(() => this.#ring.close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

// ── Hooks ───────────────────────────────────────────────────────────────────────────────────────────────────────────

export type XdpMode = "native" | "skb" | "hw";
export type Target =
  /** Without a mode the kernel takes native where the driver can, else skb. */
  | { readonly xdp: number; readonly mode?: XdpMode }
  | { readonly tcx: number; readonly dir: "ingress" | "egress" }
  | { readonly netkit: number; readonly peer?: boolean }
  /** `attachType` as bpftool writes it: cgroup_inet_ingress, cgroup_inet4_connect, cgroup_sock_ops … */
  | { readonly cgroup: string; readonly attachType: string }
  | { readonly netns: string; readonly attachType: "sk_lookup" | "flow_dissector" }
  | { readonly rawTracepoint: string }
  /** `category/name` */
  | { readonly tracepoint: string };

/** Relative to link ids, or with `program` to a program that has no link. */
export type Order =
  | { readonly before: number }
  | { readonly after: number }
  | { readonly beforeProgram: number }
  | { readonly afterProgram: number }
  | { readonly first: true }
  | { readonly last: true };

export interface AttachOptions {
  /** A path or an open namespace: where the ifindex is looked up. */
  inNetns?: string | Netns;
  /** For tcx and netkit, on newest kernels cgroups. */
  order?: Order;
  /** For tcx and netkit: refuse with "stale" when the hook has changed since queryHook(). */
  expectedRevision?: bigint;
}

const xdpModeFlags = { skb: 2, native: 4, hw: 8 } as const;
/** BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID, BPF_F_LINK of linux/bpf.h. */
const orderFlags = { before: 8, after: 16, id: 32, link: 8192 } as const;

function hookOf(target: Target): NativeHook {
  if ("xdp" in target)
    return {
      kind: "xdp",
      name: `xdp of ifindex ${target.xdp}`,
      attachType: "xdp",
      ifindex: target.xdp,
    };
  if ("tcx" in target) {
    return {
      kind: "tcx",
      name: `tcx ${target.dir} of ifindex ${target.tcx}`,
      attachType: `tcx_${target.dir}`,
      ifindex: target.tcx,
    };
  }
  if ("netkit" in target) {
    const side = target.peer ? "peer" : "primary";
    return {
      kind: "netkit",
      name: `netkit ${side} of ifindex ${target.netkit}`,
      attachType: `netkit_${side}`,
      ifindex: target.netkit,
    };
  }
  if ("cgroup" in target) {
    return {
      kind: "cgroup",
      name: `${target.attachType} of ${target.cgroup}`,
      attachType: target.attachType,
      path: target.cgroup,
    };
  }
  if ("netns" in target) {
    return {
      kind: "netns",
      name: `${target.attachType} of ${target.netns}`,
      attachType: target.attachType,
      path: target.netns,
    };
  }
  if ("rawTracepoint" in target) {
    return {
      kind: "raw-tracepoint",
      name: `raw tracepoint ${target.rawTracepoint}`,
      attachType: "",
      tracepoint: target.rawTracepoint,
    };
  }
  return {
    kind: "tracepoint",
    name: `tracepoint ${target.tracepoint}`,
    attachType: "",
    tracepoint: target.tracepoint,
  };
}

function placementOf(target: Target, options: AttachOptions): NativePlacement {
  const modeFlags = "xdp" in target && target.mode ? xdpModeFlags[target.mode] : 0;
  const [flags, relativeId] = orderOf(options.order);
  return {
    flags: modeFlags | flags,
    ...(relativeId === undefined ? {} : { relativeId }),
    ...(options.expectedRevision === undefined ? {} : { expectedRevision: options.expectedRevision }),
  };
}

function orderOf(order: Order | undefined): readonly [flags: number, relativeId?: number] {
  if (!order) return [0];
  if ("first" in order) return [orderFlags.before];
  if ("last" in order) return [orderFlags.after];
  if ("before" in order) return [orderFlags.before | orderFlags.id | orderFlags.link, order.before];
  if ("after" in order) return [orderFlags.after | orderFlags.id | orderFlags.link, order.after];
  if ("beforeProgram" in order) return [orderFlags.before | orderFlags.id, order.beforeProgram];
  return [orderFlags.after | orderFlags.id, order.afterProgram];
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

/** Who is on a hook, in order of running. Not for tracepoints. */
export function queryHook(target: Target, options: { inNetns?: string | Netns } = {}): Promise<HookState> {
  return withNetns(options.inNetns, (netns) => native().queryHook(hookOf(target), netns));
}

/** A filter of cls_bpf, in direct-action mode. */
export interface ClsBpf {
  readonly ifindex: number;
  readonly direction: "ingress" | "egress";
  readonly handle: number;
  readonly priority: number;
  readonly inNetns?: string | Netns;
}

export interface ClsBpfState {
  readonly handle: number;
  readonly priority: number;
  readonly programId: number;
}

function clsBpfOf(at: ClsBpf): NativeClsBpf {
  return {
    ifindex: at.ifindex,
    isEgress: at.direction === "egress",
    handle: at.handle,
    priority: at.priority,
  };
}

/** False when there was no such filter. */
export function detachClsBpf(at: ClsBpf): Promise<boolean> {
  return withNetns(at.inNetns, (netns) => native().detachClsBpf(clsBpfOf(at), netns));
}

export async function queryClsBpf(at: ClsBpf): Promise<ClsBpfState | undefined> {
  return (await withNetns(at.inNetns, (netns) => native().queryClsBpf(clsBpfOf(at), netns))) ?? undefined;
}

// ── Programs ────────────────────────────────────────────────────────────────────────────────────────────────────────

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

export interface ProgramSpec {
  type: string;
  /** At most 15 bytes. */
  name: string;
  license: string;
  insns: Uint8Array;
  expectedAttachType?: string;
  flags?: number;
  /** For device-bound programs. */
  ifindex?: number;
  btf?: Btf;
  /** In place of `btf`: a descriptor that the caller keeps open until the promise settles. */
  btfFd?: number;
  funcInfo?: Uint8Array;
  funcInfoRecSize?: number;
  lineInfo?: Uint8Array;
  lineInfoRecSize?: number;
  attachProgram?: BpfProgram;
  attachBtfId?: number;
  fdArray?: readonly number[];
  /** 0: a log only of refusals. 1, 2 or 4: a log in any case, see `loadLog`. */
  logLevel?: number;
  /** The log buffer grows up to this; 64 MiB when left out. */
  logSizeMax?: number;
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

function programInfoOf({ loadedAtMs, ...rest }: NativeProgramInfo): ProgramInfo {
  return { ...rest, loadedAt: new Date(loadedAtMs) };
}

export class BpfProgram extends QuickOwner {
  /** The verifier's log of a load by loadRaw() with a log level. */
  readonly loadLog: string;

  private constructor(handle: NativeHandle, loadLog = "") {
    super(handle);
    this.loadLog = loadLog;
  }

  static [fromHandle](handle: NativeHandle): BpfProgram {
    return new BpfProgram(handle);
  }

  static openPinned(path: string): BpfProgram {
    return new BpfProgram(call(() => native().programByPin(path)));
  }

  static fromId(id: number): BpfProgram {
    return new BpfProgram(call(() => native().programById(id)));
  }

  /** Loads from instructions. What these refer to by descriptor must stay open until the promise settles. */
  static async loadRaw(spec: ProgramSpec): Promise<BpfProgram> {
    const { btf, attachProgram, fdArray, ...rest } = spec;
    if (btf?.isClosed) throw closedError("load", `program ${spec.name} with BTF`);
    if (attachProgram?.isClosed) throw closedError("load", `program ${spec.name} for a program`);
    const more = {
      ...(btf && { btfFd: btf.fd }),
      ...(attachProgram && { attachProgFd: attachProgram.fd }),
      ...(fdArray && { fdArray: [...fdArray] }),
    };
    const loaded = await call(() => native().loadProgram({ ...rest, ...more }));
    const handle = loaded.take();
    if (!handle) throw closedError("load", `program ${spec.name}`);
    return new BpfProgram(handle, loaded.log);
  }

  /** Asked anew each time: run time and count move while statistics are enabled. */
  get info(): ProgramInfo {
    return programInfoOf(call(() => native().programInfo(this[handleOf])));
  }

  /** The program holds the map from now on, and `info` lists it, whether its instructions use it or not. */
  bindMap(map: BpfMap): void {
    call(() => native().bindMap(this[handleOf], map[handleOf]));
  }

  /** The instructions as the kernel rewrote them. */
  xlated(): Buffer {
    return call(() => native().programXlated(this[handleOf]));
  }

  pin(path: string): void {
    call(() => native().pin(this[handleOf], path));
  }

  /** Attaches through a link, which holds until its last descriptor and pin are gone. */
  async attach(target: Target, options: AttachOptions = {}): Promise<BpfLink> {
    const place = placementOf(target, options);
    const link = withNetns(options.inNetns, (netns) => native().attach(this[handleOf], hookOf(target), place, netns));
    return BpfLink[fromHandle](await link);
  }

  /** Attaches to a cgroup without a link: it stays after us. Flags: BPF_F_ALLOW_OVERRIDE 1, BPF_F_ALLOW_MULTI 2. */
  attachDirect(target: Target, options: { flags?: number; replace?: BpfProgram } = {}): Promise<void> {
    return call(() =>
      native().attachDirect(this[handleOf], hookOf(target), options.flags ?? 0, options.replace?.[handleOf]),
    );
  }

  detachDirect(target: Target): Promise<void> {
    return call(() => native().detachDirect(this[handleOf], hookOf(target)));
  }

  /** Creates the clsact qdisc if need be. `replace` swaps the program of the filter that is there in place. */
  attachClsBpf(at: ClsBpf & { readonly replace?: boolean }): Promise<ClsBpfState> {
    return withNetns(at.inNetns, (netns) =>
      native().attachClsBpf(this[handleOf], clsBpfOf(at), at.replace ?? false, netns),
    );
  }

  /** Runs the program on the given packet or context, not on a hook (BPF_PROG_TEST_RUN). */
  testRun(input: TestRunInput): Promise<TestRunResult> {
    return call(() => native().testRun(this[handleOf], input));
  }
}

// ── Links ───────────────────────────────────────────────────────────────────────────────────────────────────────────

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

export class BpfLink extends Owner implements AsyncDisposable {
  static [fromHandle](handle: NativeHandle): BpfLink {
    return new BpfLink(handle);
  }

  static openPinned(path: string): BpfLink {
    return new BpfLink(call(() => native().linkByPin(path)));
  }

  static fromId(id: number): BpfLink {
    return new BpfLink(call(() => native().linkById(id)));
  }

  /** Asked anew each time: an update changes the program. ifindex 0 means that the interface is gone. */
  get info(): LinkInfo {
    return call(() => native().linkInfo(this[handleOf]));
  }

  pin(path: string): void {
    call(() => native().pin(this[handleOf], path));
  }

  /** Swaps the program at once for every packet; with `expectedOld` only in its place, else "stale". */
  async update(next: BpfProgram, expectedOld?: BpfProgram): Promise<void> {
    try {
      await call(() => native().updateLink(this[handleOf], next[handleOf], expectedOld?.[handleOf]));
    } catch (error) {
      throw (expectedOld && this.#staleError(error, expectedOld)) ?? error;
    }
  }

  /** The kernel answers EPERM both for a stale expectation and for a missing privilege. */
  #staleError(error: unknown, expectedOld: BpfProgram): BpfError | undefined {
    if (!(error instanceof BpfError) || error.errnoName !== "EPERM" || this.isClosed || expectedOld.isClosed)
      return undefined;
    const { id, programId } = this.info;
    if (programId === expectedOld.info.id) return undefined;
    const { errno, errnoName, op, verifierLog, warnings } = error;
    const details: BpfErrorDetails = { code: "stale", errno, errnoName, op, verifierLog, warnings };
    return new BpfError(`update link ${id}: it runs program ${programId}, not ${expectedOld.info.id} (EPERM)`, details);
  }

  /** Takes the program off the hook, whoever else holds the link. */
  detach(): Promise<void> {
    return call(() => native().detachLink(this[handleOf]));
  }

  close(): Promise<void> {
    return call(() => this[handleOf].close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

// ── The machine ─────────────────────────────────────────────────────────────────────────────────────────────────────

export interface BtfInfo {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  readonly isKernel: boolean;
}

export interface Listing {
  prog: ProgramInfo;
  map: MapInfo;
  link: LinkInfo;
  btf: BtfInfo;
}

/** Everything of one kind in the kernel, whoever made it. What vanishes meanwhile is left out. */
export async function list<K extends keyof Listing>(kind: K): Promise<Listing[K][]>;
export async function list(kind: keyof Listing): Promise<Listing[keyof Listing][]> {
  switch (kind) {
    case "prog":
      return (await call(() => native().listPrograms())).map(programInfoOf);
    case "map":
      return call(() => native().listMaps());
    case "link":
      return call(() => native().listLinks());
    case "btf":
      return call(() => native().listBtfs());
  }
}

export function rawBtf(id: number): Buffer {
  return call(() => native().rawBtf(id));
}

let cpuCount: number | undefined;

/** CPUs that may ever be there: as many values as a per-CPU map has. */
export function possibleCpus(): number {
  cpuCount ??= call(() => native().possibleCpus());
  return cpuCount;
}

export function libbpfVersion(): string {
  return call(() => native().libbpfVersion());
}

/** While one is open, the kernel counts run time and runs of all programs. */
export class RunStatistics extends QuickOwner {
  static enable(): RunStatistics {
    return new RunStatistics(call(() => native().enableStats()));
  }
}

/** Mounts a bpffs, mode 0700, on an existing directory. */
export function mountBpffs(path: string): Promise<void> {
  return call(() => native().mountBpffs(path));
}

export function unmount(path: string): Promise<void> {
  return call(() => native().unmount(path));
}

export function isBpffs(path: string): boolean {
  return call(() => native().isBpffs(path));
}

/** What programs see as bpf_get_current_cgroup_id(). */
export function cgroupId(path: string): bigint {
  return call(() => native().cgroupId(path));
}

// ── Netlink ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export const netlinkFamilies = { route: 0, netfilter: 12, generic: 16 } as const;

export type NetlinkEvent =
  /** One datagram: one or more messages. */
  | { readonly kind: "data"; readonly data: Buffer }
  /** The kernel had to drop messages (ENOBUFS): list again. */
  | { readonly kind: "overrun" };

export interface NetlinkOptions {
  family: keyof typeof netlinkFamilies | number;
  netns?: string | Netns;
  /** Group numbers (RTNLGRP_*), not bits. */
  groups?: readonly number[];
  /** Datagrams that may wait here untaken before the socket is left to fill; 64 when left out. */
  window?: number;
}

/**
 * A netlink socket that one consumer reads, by `for await` or `next()`. What is not taken stays in the socket, and what
 * does not fit there is an "overrun".
 */
export class NetlinkSocket implements AsyncDisposable, AsyncIterable<NetlinkEvent> {
  readonly #socket: NativeNetlink;
  readonly #events: NetlinkEvent[] = [];
  #waiting: PromiseWithResolvers<NetlinkEvent | undefined> | undefined;
  #failure: Error | undefined;
  #isClosed = false;
  #lastSend: Promise<void> = Promise.resolve();

  private constructor(options: NetlinkOptions) {
    const { family, groups = [], window = 64 } = options;
    const spec = {
      protocol: typeof family === "number" ? family : netlinkFamilies[family],
      groups: [...groups],
      window,
    };
    this.#socket = withNetns(options.netns, (netns) =>
      native().openNetlink(spec, netns, (data, errno) => this.#receive(data, errno)),
    );
  }

  static open(options: NetlinkOptions): NetlinkSocket {
    return new NetlinkSocket(options);
  }

  /** Sends one datagram; datagrams leave in the order of the calls. Resolves when the kernel has carried it out. */
  send(bytes: Uint8Array): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError("send to", "netlink socket"));
    const copy = Buffer.from(bytes);
    const sent = this.#lastSend.then(() => call(() => this.#socket.send(copy)));
    this.#lastSend = sent.catch(() => {});
    return sent;
  }

  /** The next event; undefined once closed. One caller at a time. */
  next(): Promise<NetlinkEvent | undefined> {
    if (this.#waiting) return Promise.reject(new TypeError("read netlink socket: somebody waits already"));
    const event = this.#events.shift();
    if (event) {
      this.#socket.taken(1);
      return Promise.resolve(event);
    }
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#isClosed) return Promise.resolve(undefined);
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<NetlinkEvent, void, undefined> {
    for (let event = await this.next(); event; event = await this.next()) yield event;
  }

  #receive(data: Buffer, errno: number): void {
    if (this.#isClosed) return;
    const errnoName = errnoNames.get(errno) ?? `errno ${errno}`;
    if (errno !== 0 && errnoName !== "ENOBUFS") {
      const details = {
        code: codes[errnoName] ?? "other",
        errno,
        errnoName,
        op: "read",
        verifierLog: "",
        warnings: "",
      } as const;
      this.#failure = new BpfError(`read netlink socket: it broke (${errnoName})`, details);
      this.#waiting?.reject(this.#failure);
      this.#waiting = undefined;
      return;
    }
    const event: NetlinkEvent = errno === 0 ? { kind: "data", data } : { kind: "overrun" };
    if (!this.#waiting) {
      this.#events.push(event);
      return;
    }
    this.#socket.taken(1);
    this.#waiting.resolve(event);
    this.#waiting = undefined;
  }

  /** Ends the reading; events not taken are dropped. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.#events.length = 0;
    this.#waiting?.resolve(undefined);
    this.#waiting = undefined;
    return call(() => this.#socket.close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
