import { native } from "./addon.ts";
import type { NativeHandle } from "./addon.ts";
import type { Batch, MapInfo } from "./answers.ts";
import { call, closedError } from "./bpf-error.ts";
import type { Btf } from "./btf.ts";
import { possibleCpus } from "./cpus.ts";
import { QuickOwner, fromHandle, handleOf } from "./owner.ts";
import { RingReader } from "./ring.ts";
import type { RingBatch } from "./ring.ts";

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
    return new RingReader(this[handleOf], onBatch, options.maxRecords ?? 4096, options.pollMs ?? 1000);
  }
}
