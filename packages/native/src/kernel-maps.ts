import {
  indexEntries,
  isAlike,
  isArrayLike,
  isKeyed,
  isMapOfMaps,
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
import { setImmediate } from "node:timers/promises";
import { BpfMap, BpfObject, isBpffs, type RingBatch } from "./binding.ts";
import { createNamed, isBounded, putEntries, refuseOverflow, tooMany } from "./fill-map.ts";
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
  #stored: Promise<void> = Promise.resolve();

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
    const entries = contents.kind === "sealed" || contents.kind === "kept" ? contents.entries : undefined;
    const inner = contents.kind === "refers" ? contents.inner : undefined;
    if (inner !== undefined && !isMapOfMaps(definition.type)) throw noReferences(what, definition.type);
    if (entries !== undefined) refuseOverflow(what, definition, entries);
    await saying(what, async () => {
      using map = spec.declaredIn
        ? await this.#createDeclared(spec.declaredIn, what)
        : createNamed(definition, spec.name, inner);
      if (entries !== undefined && entries.count > 0) await putEntries(map, entries);
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
      if (!isKeyed(type as MapType) && !isMapOfMaps(type as MapType))
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
      const deleting = [...indexEntries(deletes).keys()];
      let mustDeleteFirst = false;
      if (isArrayLike(definition.type)) {
        refuseOverflow(what, definition, puts);
      } else if (isBounded(definition.type)) {
        const putting = indexEntries(puts);
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
        if (puts.count > 0) await putEntries(map, puts);
        if (!mustDeleteFirst) await remove();
      } catch (error) {
        if (hasCode(error, "not-permitted"))
          throw kernelError(what, error, { code: "invalid", said: "its contents are sealed" });
        throw error;
      }
    });
  }

  /** The kernel waits until no program looks at what was there before: off the event loop, while the next is put. */
  async putReference(spec: MapSpec, slot: number, map: MapIdentity): Promise<void> {
    const earlier = this.#stored;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stored = promise;
    await earlier;
    await this.#put(spec, slot, map, resolve).finally(resolve);
  }

  /** Resolves when programs see all that is being put. */
  get stored(): Promise<void> {
    return this.#stored;
  }

  async #put(spec: MapSpec, slot: number, map: MapIdentity, onStored: () => void): Promise<void> {
    const what = `put map ${map.key} into ${spec.key}[${slot}]`;
    await saying(what, async () => {
      using outer = this.#openOuter(mapIdentity(spec), what);
      using inner = this.open(map, what);
      const { contents } = spec;
      if (contents.kind !== "refers" || !isAlike(contents.inner, definitionOf(inner), contents.takesAnySize))
        throw refusal(what, "it does not look like those it takes", "invalid", "BPF_MAP_UPDATE_ELEM");
      const { type, maxEntries } = outer.info;
      if (type === "array_of_maps" && slot >= maxEntries)
        throw refusal(what, `it has ${maxEntries} slots (E2BIG)`, "full", "BPF_MAP_UPDATE_ELEM");
      const { id } = inner.info;
      const putting = outer.updateBatch(word(slot), word(inner.fd), 1);
      const waiting = new AbortController();
      const end = (): void => waiting.abort();
      putting.then(end, end);
      while (!waiting.signal.aborted && outer.getRaw(word(slot))?.readUInt32LE() !== id) await setImmediate();
      onStored();
      await putting;
    });
  }

  async dropReference(identity: MapIdentity, slot: number): Promise<void> {
    const what = `empty ${identity.key}[${slot}]`;
    await saying(what, async () => {
      using outer = this.#openOuter(identity, what);
      await outer.deleteBatch(word(slot), 1);
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

  #openOuter(identity: MapIdentity, what: string): BpfMap {
    const map = this.open(identity, what);
    if (isMapOfMaps(map.info.type as MapType)) return map;
    map.close();
    throw noReferences(what, map.info.type);
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

function noReferences(what: string, type: string): Error {
  return refusal(what, `a ${type} refers to no maps`, "invalid", "BPF_MAP_UPDATE_ELEM");
}

function word(number: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(number).buffer);
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
