import { KernelError } from "@bpfleet/base";
import {
  isArrayLike,
  isKeyed,
  isMapOfMaps,
  isPerCpu,
  mapIdentity,
  noEntries,
  sameIdentity,
  unlistable,
  type KernelPort,
  type MapDefinition,
  type MapType,
  type NodePlan,
} from "@bpfleet/kernel";
import { BpfError, BpfMap, BpfObject, kernelError, possibleCpus, rawBtf } from "@bpfleet/native";
import { readFdinfo } from "./fdinfo.ts";
import type { MapReading, MapRef, MapTypes, ReadMapRequest, WriteMapRequest } from "./machine.ts";

export interface NodeMapsParts {
  readonly kernel: KernelPort;
  readonly plan: () => NodePlan;
  /** The bytes of a BPF object by the name that plans use. */
  readonly loadObject: (name: string) => Promise<Uint8Array | undefined>;
}

/** Any map of the machine: what it is, and its entries. */
export class NodeMaps {
  readonly #parts: NodeMapsParts;

  constructor(parts: NodeMapsParts) {
    this.#parts = parts;
  }

  async read({ map: ref, key, max }: ReadMapRequest): Promise<MapReading> {
    const what = `read map ${renderMapRef(ref)}`;
    using map = await this.#open(ref, what);
    const { id, name } = map.info;
    const definition = definitionOf(map);
    const { isFrozen, memoryBytes } = useOf(map);
    const ours = await this.#keyOf(id);
    const types = await this.#typesOf(map, ours);
    const found = await readEntries(map, key, max, what);
    return { id, name, definition, ours, isFrozen, memoryBytes, types, ...found, cpus: cpusOf(definition.type) };
  }

  async write({ map: ref, puts, deletes, force }: WriteMapRequest): Promise<void> {
    const what = `write map ${renderMapRef(ref)}`;
    using map = await this.#open(ref, what);
    const { type, keySize, valueSize, maxEntries } = definitionOf(map);
    const own = (await this.#parts.kernel.observe()).maps.find(({ mapId }) => mapId === map.info.id);
    const isSealed = this.#parts.plan().maps.some((spec) => {
      return (
        (spec.contents.kind === "sealed" || spec.contents.kind === "refers") &&
        own !== undefined &&
        sameIdentity(mapIdentity(spec), own)
      );
    });
    if (isSealed || useOf(map).isFrozen)
      throw refusal(what, "its contents are sealed; change the object that declares them", "invalid");
    if (isMapOfMaps(type))
      throw refusal(what, "its values are maps, which only programs and plans put there", "not-supported");
    if (own === undefined && !force)
      throw refusal(what, "it is not ours and is only read; --force writes it all the same", "no-permission");
    for (const [bytes, count, size] of [
      [puts.keys, puts.count, keySize],
      [puts.values, puts.count, valueSize],
      [deletes.keys, deletes.count, keySize],
    ] as const)
      if (bytes.length !== count * size)
        throw refusal(what, `${bytes.length} bytes are not ${count} of ${size}`, "invalid");
    if (isArrayLike(type)) {
      if (deletes.count > 0)
        throw refusal(what, "entries of arrays cannot be deleted; set it to 0 with `ebpfctl map set`", "invalid");
      const beyond = indexesOf(puts.keys).find((index) => index >= maxEntries);
      if (beyond !== undefined)
        throw refusal(what, `there is no entry ${beyond}; the array has the entries 0 to ${maxEntries - 1}`, "invalid");
    }
    const put = (at: number): void => {
      const value = puts.values.subarray(at * valueSize, (at + 1) * valueSize);
      map.setRaw(puts.keys.subarray(at * keySize, (at + 1) * keySize), isPerCpu(type) ? forAllCpus(value) : value);
    };
    try {
      for (let at = 0; at < puts.count; at++) put(at);
      for (let at = 0; at < deletes.count; at++)
        if (!map.deleteRaw(deletes.keys.subarray(at * keySize, (at + 1) * keySize)))
          throw refusal(what, "there is no such entry (ENOENT)", "not-found");
    } catch (error) {
      if (!(error instanceof BpfError) || error.code !== "too-big") throw said(what, error);
      throw kernelError(what, error, { code: "full", said: `it is full: it takes ${maxEntries} entries` });
    }
  }

  async #open(ref: MapRef, what: string): Promise<BpfMap> {
    try {
      if (ref.by === "id") return BpfMap.fromId(ref.id);
      if (ref.by === "pin-path") return BpfMap.openPinned(ref.path);
      const { maps } = await this.#parts.kernel.observe();
      const same = maps.filter(({ key }) => key === ref.key);
      const newest = same.toSorted((a, b) => b.mapId - a.mapId)[0];
      if (newest !== undefined) return BpfMap.fromId(newest.mapId);
    } catch (error) {
      throw said(what, error);
    }
    throw refusal(what, "no map of ours has that key; `ebpfctl map list --ours` has them", "not-found");
  }

  async #keyOf(id: number): Promise<string | undefined> {
    return (await this.#parts.kernel.inventory()).maps.find((map) => map.id === id)?.ours;
  }

  /** As the kernel knows them, or as the object says in which a program of the plan uses the map. */
  async #typesOf(map: BpfMap, ours: string | undefined): Promise<MapTypes | undefined> {
    const { btfId, btfKeyTypeId: keyTypeId, btfValueTypeId: valueTypeId } = map.info;
    if (btfId !== 0 && valueTypeId !== 0) return { btf: rawBtf(btfId), keyTypeId, valueTypeId };
    for (const { object, maps } of ours === undefined ? [] : this.#parts.plan().programs) {
      const name = Object.entries(maps).find(([, key]) => key === ours)?.[0];
      if (name === undefined) continue;
      const elf = await this.#parts.loadObject(object.name).catch(() => undefined);
      if (elf === undefined) continue;
      await using opened = BpfObject.open(elf, { name: object.name });
      const declared = opened.maps.find((each) => each.name === name);
      if (declared !== undefined && declared.btfValueTypeId !== 0)
        return { btf: opened.btf(), keyTypeId: declared.btfKeyTypeId, valueTypeId: declared.btfValueTypeId };
    }
    return undefined;
  }
}

/** Memory and whether it is frozen; only the kernel's text about the descriptor tells. */
export function useOf(map: BpfMap): { readonly memoryBytes: bigint; readonly isFrozen: boolean } {
  const fields = readFdinfo("self", map.fd);
  return { memoryBytes: BigInt(fields.get("memlock") ?? 0), isFrozen: fields.get("frozen") === "1" };
}

async function readEntries(
  map: BpfMap,
  key: Uint8Array | undefined,
  max: number,
  what: string,
): Promise<Pick<MapReading, "entries" | "isWhole">> {
  const { type, keySize } = definitionOf(map);
  const isWanted = key === undefined ? max > 0 : true;
  if (isWanted && !isKeyed(type) && !isMapOfMaps(type) && (key === undefined || keySize === 0))
    throw refusal(
      what,
      `${unlistable(type)}; \`ebpfctl map show ${map.info.id}\` tells what is known of it`,
      "not-supported",
    );
  try {
    if (key !== undefined) {
      if (key.length !== keySize)
        throw refusal(what, `the key has ${key.length} bytes, its keys have ${keySize}`, "invalid");
      const value = map.getRaw(key);
      if (value === undefined) throw refusal(what, "there is no such entry (ENOENT)", "not-found");
      return { entries: { count: 1, keys: key, values: value }, isWhole: false };
    }
    if (max === 0) return { entries: noEntries, isWhole: false };
    const { count, keys, values } = await map.readBatch({ max: max + 1 });
    if (count <= max) return { entries: { count, keys, values }, isWhole: true };
    const entries = {
      count: max,
      keys: keys.subarray(0, max * keySize),
      values: values.subarray(0, max * map.wholeValueSize),
    };
    return { entries, isWhole: false };
  } catch (error) {
    throw said(what, error);
  }
}

function cpusOf(type: MapType): number {
  return isPerCpu(type) ? possibleCpus() : 0;
}

function definitionOf(map: BpfMap): MapDefinition {
  const { type, keySize, valueSize, maxEntries, flags } = map.info;
  return { type: type as MapType, keySize, valueSize, maxEntries, flags };
}

/** Keys of arrays are 32 bits in the order of the host. */
function indexesOf(keys: Uint8Array): readonly number[] {
  return [...new Uint32Array(keys.slice().buffer)];
}

function forAllCpus(value: Uint8Array): Uint8Array {
  const stride = Math.ceil(value.length / 8) * 8;
  const values = new Uint8Array(stride * possibleCpus());
  for (let at = 0; at < values.length; at += stride) values.set(value, at);
  return values;
}

export function renderMapRef(ref: MapRef): string {
  return ref.by === "id" ? String(ref.id) : ref.by === "pin-path" ? ref.path : ref.key;
}

function refusal(what: string, why: string, code: KernelError["code"]): KernelError {
  return new KernelError(`${what}: ${why}`, { code, call: "BPF_MAP", retry: "when-changed" });
}

function said(what: string, error: unknown): unknown {
  return error instanceof BpfError ? kernelError(what, error) : error;
}
