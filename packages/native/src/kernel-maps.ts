import {
  indexEntries,
  isArrayLike,
  isKeyed,
  isPerCpu,
  mapIdentity,
  packEntries,
  unlistable,
  type MapDefinition,
  type MapEntries,
  type MapIdentity,
  type MapSpec,
  type MapType,
  type ObservedMap,
} from "@bpfleet/kernel";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BpfMap, BpfObject, isBpffs, possibleCpus, type RingBatch } from "./binding.ts";
import { hasCode, kernelError, refusal, saying } from "./kernel-error.ts";
import type { LoadedObjects } from "./loaded-objects.ts";
import { makePinFolders, openPin, removeEmptyFolders, reopen, type PinAccess } from "./pin-access.ts";
import { isThere, pinAt, replacePin, unpin, type Pins } from "./pins.ts";
import { TypeFiles } from "./type-files.ts";

export interface MapAccess {
  readonly pins?: PinAccess | undefined;
  /** Folder of the files that tell the types of maps below `<bpffs>/maps`; without it there are none. */
  readonly types?: string | undefined;
}

/** The maps of the port, each a pin. */
export class KernelMaps {
  readonly #pins: Pins;
  readonly #objects: LoadedObjects;
  readonly #access: PinAccess | undefined;
  readonly #types: TypeFiles | undefined;

  constructor(pins: Pins, objects: LoadedObjects, { pins: access, types }: MapAccess = {}) {
    this.#pins = pins;
    this.#objects = objects;
    this.#access = access;
    this.#types = types === undefined ? undefined : new TypeFiles(types, join(pins.bpffs, "maps"), access);
  }

  /** What an earlier run left: the types of pins that are gone with their bpffs, and pins for whom it was told to open them. */
  sweep(): void {
    const pins = this.#userPins().map(({ path }) => path);
    this.#types?.sweep(new Set(pins));
    if (this.#access === undefined) return;
    for (const path of pins) {
      if (!this.#isInOurTree(path) || !isThere(path)) continue;
      reopen(join(this.#pins.bpffs, "maps"), path, this.#access);
      this.#types?.reopen(path);
    }
  }

  observe(): ObservedMap[] {
    const userPins = this.#userPins();
    return this.#pins.identities("maps").map(({ key, generation, path }) => {
      using map = BpfMap.openPinned(path);
      const { id } = map.info;
      const pinPaths = userPins
        .filter((pin) => pin.mapId === id && pinnedMapId(pin.path) === id && this.#isTyped(pin.path, map))
        .map((pin) => pin.path);
      return { key, generation, mapId: id, definition: definitionOf(map), pinPaths };
    });
  }

  async create(spec: MapSpec): Promise<void> {
    const path = this.#pins.map(mapIdentity(spec));
    if (isThere(path)) return;
    const what = `create map ${spec.key}`;
    const { definition, contents } = spec;
    const entries = contents.kind === "live" ? undefined : contents.entries;
    if (entries !== undefined) refuseOverflow(what, definition, indexEntries(entries), 0);
    await saying(what, async () => {
      using map = spec.declaredIn
        ? await this.#createDeclared(spec.declaredIn, what)
        : createNamed(definition, spec.name);
      if (entries !== undefined && entries.count > 0) await put(map, entries);
      if (contents.kind === "sealed" && spec.carries === undefined) map.freeze();
      pinAt(map, path);
    });
  }

  /** By libbpf, as the object says: with its types, inner maps and all. */
  async #createDeclared({ object, map }: NonNullable<MapSpec["declaredIn"]>, what: string): Promise<BpfMap> {
    const elf = await this.#objects.bytes(object, what);
    await using opened = BpfObject.open(elf, { name: object.name, autoload: [] });
    if (!opened.maps.some((each) => each.name === map))
      throw refusal(what, `object ${object.name} has no map ${map}`, "not-found", "BPF_OBJECT_OPEN");
    await opened.prepare();
    return opened.map(map);
  }

  async read(identity: MapIdentity): Promise<MapEntries | undefined> {
    const what = `read map ${identity.key}`;
    return saying(what, async () => {
      using map = this.#find(identity);
      if (map === undefined) return undefined;
      const { type } = map.info;
      if (!isKeyed(type as MapType))
        throw refusal(what, unlistable(type as MapType), "not-supported", "BPF_MAP_LOOKUP_BATCH");
      return map.readBatch();
    });
  }

  /** Only the text that the kernel has about a descriptor tells. */
  async memory(identity: MapIdentity): Promise<number | undefined> {
    return saying(`measure map ${identity.key}`, () => {
      using map = this.#find(identity);
      if (map === undefined) return undefined;
      const memory = /^memlock:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${map.fd}`, "utf8"))?.[1];
      return memory === undefined ? undefined : Number(memory);
    });
  }

  async write(identity: MapIdentity, puts: MapEntries, deletes: MapEntries): Promise<void> {
    const what = `write map ${identity.key}`;
    await saying(what, async () => {
      using map = this.open(identity, what);
      const definition = definitionOf(map);
      const putting = indexEntries(puts);
      const deleting = [...indexEntries(deletes).keys()];
      let mustDeleteFirst = false;
      if (isArrayLike(definition.type)) {
        refuseOverflow(what, definition, putting, 0);
      } else if (isBounded(definition.type)) {
        const present = new Set(indexEntries(await map.readBatch()).keys());
        const peak = present.union(new Set(putting.keys())).size;
        const gone = deleting.filter((key) => present.has(key) || putting.has(key)).length;
        if (peak - gone > definition.maxEntries) throw tooMany(what, peak - gone, definition.maxEntries);
        mustDeleteFirst = peak > definition.maxEntries;
      }
      const remove = async (): Promise<void> => {
        const { count, keys } = packEntries(deleting.map((key) => [key, new Uint8Array(0)]));
        if (count > 0) await map.deleteBatch(keys, count);
      };
      try {
        if (mustDeleteFirst) await remove();
        if (puts.count > 0) await put(map, puts);
        if (!mustDeleteFirst) await remove();
      } catch (error) {
        if (hasCode(error, "not-permitted"))
          throw kernelError(what, error, { code: "invalid", said: "its contents are sealed" });
        throw error;
      }
    });
  }

  async remove(identity: MapIdentity): Promise<void> {
    await saying(`remove map ${identity.key}`, () => {
      using map = this.#find(identity);
      if (map === undefined) return;
      for (const pin of this.#userPins()) if (pin.mapId === map.info.id) this.#unpinPath(pin.path, pin.mapId);
      unpin(this.#pins.map(identity));
    });
  }

  async pin(identity: MapIdentity, pinPath: string): Promise<void> {
    const what = `pin map ${identity.key} at ${pinPath}`;
    await saying(what, () => {
      using map = this.open(identity, what);
      const folder = join(pinPath, "..");
      if (this.#isInOurTree(pinPath)) makePinFolders(join(this.#pins.bpffs, "maps"), folder, this.#access);
      if (!pinPath.startsWith("/") || !isThere(folder) || !isBpffs(folder)) {
        throw refusal(
          what,
          "a pin must lie below a bpffs mount, in a directory that is there (mount -t bpf bpf /sys/fs/bpf makes one)",
          "invalid",
          "BPF_OBJ_PIN",
        );
      }
      if (pinPath.slice(folder.length).includes("."))
        throw refusal(what, "a bpffs takes no names with a dot", "invalid", "BPF_OBJ_PIN");
      const { id } = map.info;
      const marker = this.#pins.userPin(pinPath);
      const holder = pinnedMapId(pinPath);
      if (holder === id && pinnedMapId(marker) === id && this.#isTyped(pinPath, map)) return;
      if (isThere(pinPath) && !this.#isOurs(holder, marker)) {
        throw refusal(
          what,
          `something that is not ours is pinned there (EEXIST); choose another path, or take it away with: rm ${pinPath}`,
          "exists",
          "BPF_OBJ_PIN",
        );
      }
      if (this.#isInOurTree(pinPath)) this.#types?.write(pinPath, map);
      if (holder !== undefined && holder !== id) replacePin(map, pinPath);
      replacePin(map, marker);
      if (holder === undefined) map.pin(pinPath);
      if (this.#isInOurTree(pinPath)) openPin(pinPath, this.#access);
    });
  }

  async unpin(identity: MapIdentity, pinPath: string): Promise<void> {
    await saying(`unpin map ${identity.key} from ${pinPath}`, () => {
      using map = this.#find(identity);
      if (map !== undefined && pinnedMapId(this.#pins.userPin(pinPath)) === map.info.id)
        this.#unpinPath(pinPath, map.info.id);
    });
  }

  async readRing(identity: MapIdentity, onRecords: (records: Iterable<Uint8Array>) => void): Promise<AsyncDisposable> {
    const what = `read ring ${identity.key}`;
    return saying(what, () => {
      using map = this.open(identity, what);
      const { type } = map.info;
      if (type !== "ringbuf") throw refusal(what, `it is a ${type}`, "invalid", "RING_BUFFER_NEW");
      return map.ringbuf((batch: RingBatch) => onRecords(batch));
    });
  }

  /** Close it. */
  open(identity: MapIdentity, what: string): BpfMap {
    const map = this.#find(identity);
    if (map === undefined) throw refusal(what, `map ${identity.key} is not there (ENOENT)`, "not-found", "BPF_OBJ_GET");
    return map;
  }

  removeUserPins(): void {
    for (const pin of this.#userPins()) this.#unpinPath(pin.path, pin.mapId);
  }

  #isTyped(pin: string, map: BpfMap): boolean {
    return this.#types === undefined || !this.#isInOurTree(pin) || this.#types.has(pin, map);
  }

  #find(identity: MapIdentity): BpfMap | undefined {
    return openIfThere(this.#pins.map(identity));
  }

  /** By the mark, or because it is one of our maps: between pin and mark we may have been stopped. */
  #isOurs(holder: number | undefined, marker: string): boolean {
    if (holder === undefined) return false;
    return (
      holder === pinnedMapId(marker) || this.#pins.identities("maps").some(({ path }) => pinnedMapId(path) === holder)
    );
  }

  #userPins(): { readonly path: string; readonly mapId: number }[] {
    return this.#pins.keys("paths").flatMap(({ key, path }) => {
      const mapId = pinnedMapId(path);
      return mapId === undefined ? [] : [{ path: key, mapId }];
    });
  }

  /** Where applications look for the maps of the programs that people bring: its folders are ours too. */
  #isInOurTree(path: string): boolean {
    return path.startsWith(`${join(this.#pins.bpffs, "maps")}/`) && !path.includes("/../");
  }

  /** What others have pinned there meanwhile stays. */
  #unpinPath(path: string, mapId: number): void {
    if (pinnedMapId(path) === mapId) unpin(path);
    if (this.#isInOurTree(path)) {
      removeEmptyFolders(join(this.#pins.bpffs, "maps"), dirname(path));
      this.#types?.remove(path);
    }
    unpin(this.#pins.userPin(path));
  }
}

/** What observe calls the definition of a map: what it was created with. */
function definitionOf(map: BpfMap): MapDefinition {
  const { type, keySize, valueSize, maxEntries, flags } = map.info;
  // The kernel adds BPF_F_RDONLY_PROG to device maps by itself.
  return { type: type as MapType, keySize, valueSize, maxEntries, flags: type === "devmap" ? flags & ~0x80 : flags };
}

function createNamed(definition: MapDefinition, name: string): BpfMap {
  const spec = { ...definition, name: name.replace(/[^A-Za-z0-9_.]/g, "_").slice(0, 15) };
  if (definition.type !== "array_of_maps" && definition.type !== "hash_of_maps") return BpfMap.create(spec);
  // What will be put there must look like this one.
  using inner = BpfMap.create({ type: "array", name: spec.name, keySize: 4, valueSize: 4, maxEntries: 1 });
  return BpfMap.create({ ...spec, innerMap: inner });
}

async function put(map: BpfMap, entries: MapEntries): Promise<void> {
  const { type, keySize, valueSize } = map.info;
  if (keySize === 0) {
    for (let at = 0; at < entries.count; at++)
      map.setRaw(new Uint8Array(0), entries.values.subarray(at * valueSize, (at + 1) * valueSize));
    return;
  }
  const values = isPerCpu(type as MapType) ? forAllCpus(entries, valueSize) : entries.values;
  await map.updateBatch(entries.keys, values, entries.count);
}

function forAllCpus(entries: MapEntries, valueSize: number): Uint8Array {
  const stride = Math.ceil(valueSize / 8) * 8;
  const cpus = possibleCpus();
  const values = new Uint8Array(entries.count * stride * cpus);
  for (let at = 0; at < entries.count; at++) {
    const value = entries.values.subarray(at * valueSize, (at + 1) * valueSize);
    for (let cpu = 0; cpu < cpus; cpu++) values.set(value, (at * cpus + cpu) * stride);
  }
  return values;
}

/** The kernel refuses entry by entry; we refuse before the first. */
function refuseOverflow(
  what: string,
  definition: MapDefinition,
  entries: ReadonlyMap<string, Uint8Array>,
  present: number,
): void {
  const { type, maxEntries } = definition;
  if (isArrayLike(type)) {
    for (const key of entries.keys()) {
      const index = Buffer.from(key, "hex").readUInt32LE(0);
      if (index >= maxEntries)
        throw refusal(
          what,
          `there is no index ${index}, it has ${maxEntries} entries (E2BIG)`,
          "full",
          "BPF_MAP_UPDATE_ELEM",
        );
    }
  } else if (isBounded(type) && present + entries.size > maxEntries) {
    throw tooMany(what, present + entries.size, maxEntries);
  }
}

function isBounded(type: MapType): boolean {
  return isKeyed(type) && !isArrayLike(type) && !type.startsWith("lru");
}

function tooMany(what: string, count: number, maxEntries: number): Error {
  return refusal(what, `${count} entries do not fit in ${maxEntries} (E2BIG)`, "full", "BPF_MAP_UPDATE_ELEM");
}

function openIfThere(path: string): BpfMap | undefined {
  try {
    return BpfMap.openPinned(path);
  } catch (error) {
    if (hasCode(error, "not-found")) return undefined;
    throw error;
  }
}

/** `undefined` when no map is pinned there, whatever else may be. */
function pinnedMapId(path: string): number | undefined {
  try {
    using map = BpfMap.openPinned(path);
    return map.info.id;
  } catch {
    return undefined;
  }
}
