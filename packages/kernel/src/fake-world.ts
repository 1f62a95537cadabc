import { KernelError } from "@bpfleet/base";
import type { HookResult, MapIdentity, ProgramIdentity } from "./port.ts";
import { isInterfacePoint, type HookPoint } from "./hook-point.ts";
import { type MapDefinition, type ProgramSpec } from "./specs.ts";

/** What a kernel holds, as a value that outlives every FakeKernel over it; a process restart is a new FakeKernel. */
export class FakeWorld {
  readonly maps = new Map<string, FakeMap>();
  readonly programs = new Map<string, FakeProgram>();
  readonly hooks = new Map<string, FakeHook>();
  /** Name → ifindex; a re-created interface has another one. */
  readonly interfaces = new Map<string, number>();
  /** Path → cgroup id. */
  readonly cgroups = new Map<string, number>();
  /** Names as hooks have them → id. */
  readonly tracepoints = new Map([
    ["syscalls/sys_enter_getpgid", 1],
    ["sys_enter", 2],
  ]);
  /** Hooks that this kernel was built without. */
  readonly refusedHooks = new Set<HookPoint["hook"]>(["kprobe", "kretprobe", "fentry", "fexit"]);
  /** Programs of others, by the key of the hook that they hold. */
  readonly foreign = new Map<string, { readonly id: number; readonly name: string }>();
  /** Directories on which a bpffs is mounted. */
  readonly bpffs: string[] = ["/run/bpfd/fs"];
  /** Pins outside our own folder: path → map id; foreign ones have ids of no map of ours. */
  readonly pathPins = new Map<string, number>();
  /** Paths of these that we pinned, with the map that we pinned there. */
  readonly userPins = new Map<string, number>();
  /** Interfaces whose driver takes no XDP program. */
  readonly genericOnly = new Set<string>();
  /** Loadable objects by name; `undefined` takes every name and digest. */
  objects: ReadonlyMap<string, { readonly digest: string; readonly entries: readonly string[] }> | undefined;
  /** Called before every change with what is about to happen; an error that it returns is thrown instead. */
  intercept: (call: FakeCall) => Error | undefined = () => undefined;
  /** What a program does with a packet in testRun. */
  run: (spec: ProgramSpec, packet: Uint8Array) => { readonly verdict: number; readonly scratch: Uint8Array } = () => ({
    verdict: 2,
    scratch: new Uint8Array(16),
  });
  readonly ringReaders = new Map<number, Set<(records: Iterable<Uint8Array>) => void>>();
  #lastId = 100;

  nextId(): number {
    return ++this.#lastId;
  }

  addInterface(name: string): void {
    this.interfaces.set(name, this.nextId());
  }

  /** What hangs on it stays pinned, and filters nothing any more. */
  removeInterface(name: string): void {
    this.interfaces.delete(name);
  }

  /** What hangs on it stays. */
  renameInterface(name: string, to: string): void {
    const ifindex = this.interfaces.get(name);
    if (ifindex === undefined || this.interfaces.has(to)) throw new RangeError(`rename ${name} to ${to}`);
    this.interfaces.delete(name);
    this.interfaces.set(to, ifindex);
  }

  addCgroup(path: string): void {
    this.cgroups.set(path, this.nextId());
  }

  removeCgroup(path: string): void {
    this.cgroups.delete(path);
  }

  /** The interface or cgroup that a hook is at now. */
  placeId(point: HookPoint): number | undefined {
    if (isInterfacePoint(point)) return this.interfaces.get(point.interface);
    if (point.hook === "cgroup") return this.cgroups.get(point.path);
    if (point.hook === "tracepoint" || point.hook === "raw_tracepoint") return this.tracepoints.get(point.name);
    return this.refusedHooks.has(point.hook) ? undefined : 1;
  }

  /** A program reports through a ring buffer. */
  emit(mapKey: string, record: Uint8Array): void {
    for (const map of this.maps.values()) {
      if (map.identity.key !== mapKey) continue;
      for (const onRecords of this.ringReaders.get(map.id) ?? []) onRecords([record]);
    }
  }

  /** Reboot: the bpffs and everything that it kept is gone. */
  reboot(): void {
    for (const held of [this.maps, this.programs, this.hooks, this.pathPins, this.userPins]) held.clear();
  }
}

export interface FakeCall {
  readonly method: string;
  /** Of the map, program or hook. */
  readonly key: string;
}

export interface FakeMap {
  readonly id: number;
  readonly identity: MapIdentity;
  readonly definition: MapDefinition;
  readonly isFrozen: boolean;
  /** Of a map of maps: what it takes. */
  readonly inner: MapDefinition | undefined;
  /**
   * Key in hexadecimal → value; of all CPUs, each padded to 8 bytes, for per-CPU maps; the id of the map for maps of maps.
   */
  readonly entries: Map<string, Uint8Array>;
}

export interface FakeProgram {
  readonly id: number;
  readonly identity: ProgramIdentity;
  readonly spec: ProgramSpec;
  readonly mapIds: readonly number[];
}

export interface FakeHook {
  readonly key: string;
  readonly point: HookPoint;
  readonly placeId: number;
  readonly linkId: number;
  readonly programId: number;
  readonly generation: string;
  /** Ids of programs; they run on here even when their pins are gone. */
  readonly members: readonly number[];
  readonly result: HookResult;
}

export function fakeError(code: KernelError["code"], message: string, call: string, errno?: string): KernelError {
  return new KernelError(message, {
    code,
    call,
    errno,
    retry: code === "interface-missing" ? "when-changed" : "backoff",
  });
}
