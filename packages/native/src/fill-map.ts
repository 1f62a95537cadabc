import {
  indexEntries,
  isArrayLike,
  isKeyed,
  isMapOfMaps,
  isPerCpu,
  mapFlags,
  type MapDefinition,
  type MapEntries,
  type MapType,
} from "@bpfleet/kernel";
import { BpfMap, possibleCpus } from "./binding.ts";
import { refusal } from "./kernel-error.ts";

export function createNamed(definition: MapDefinition, name: string, inner: MapDefinition = anyArray): BpfMap {
  const spec = { ...definition, name: name.replace(/[^A-Za-z0-9_.]/g, "_").slice(0, 15) };
  if (!isMapOfMaps(definition.type)) return BpfMap.create(spec);
  // What will be put there must look like this one.
  using innerMap = BpfMap.create({ ...inner, name: spec.name });
  return BpfMap.create({ ...spec, innerMap });
}

/** What maps of maps take that programs fill. */
const anyArray: MapDefinition = { type: "array", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 };

/** Puts one value for each CPU where the map is per CPU. */
export async function putEntries(map: BpfMap, entries: MapEntries): Promise<void> {
  const { type, keySize, valueSize, flags } = map.info;
  if ((flags & mapFlags.mmapable) !== 0 && type === "array") return putIntoMemory(map, entries);
  if (keySize === 0) {
    for (let at = 0; at < entries.count; at++)
      map.setRaw(new Uint8Array(0), entries.values.subarray(at * valueSize, (at + 1) * valueSize));
    return;
  }
  const values = isPerCpu(type as MapType) ? forAllCpus(entries, valueSize) : entries.values;
  await map.updateBatch(entries.keys, values, entries.count);
}

/** Indices that follow each other are one copy: nobody reads the map yet, or they are read one by one. */
function putIntoMemory(map: BpfMap, { count, keys, values }: MapEntries): void {
  const { valueSize } = map.info;
  const stride = Math.ceil(valueSize / 8) * 8;
  const indices = indicesOf(keys, count);
  const isPacked = stride === valueSize;
  for (let at = 0; at < count;) {
    const index = indices[at] ?? 0;
    const end = isPacked ? endOfRun(indices, at) : at + 1;
    map.write(values.subarray(at * valueSize, end * valueSize), index * stride);
    at = end;
  }
}

/** Where indices cease to follow each other. */
function endOfRun(indices: Uint32Array, from: number): number {
  let end = from + 1;
  while (end < indices.length && indices[end] === (indices[end - 1] ?? 0) + 1) end++;
  return end;
}

function indicesOf(keys: Uint8Array, count: number): Uint32Array {
  const indices = new Uint32Array(count);
  new Uint8Array(indices.buffer).set(keys.subarray(0, count * 4));
  return indices;
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
export function refuseOverflow(what: string, definition: MapDefinition, entries: MapEntries): void {
  const { type, maxEntries } = definition;
  if (isArrayLike(type)) {
    for (const index of indicesOf(entries.keys, entries.count)) {
      if (index >= maxEntries)
        throw refusal(
          what,
          `there is no index ${index}, it has ${maxEntries} entries (E2BIG)`,
          "full",
          "BPF_MAP_UPDATE_ELEM",
        );
    }
  } else if (isBounded(type) && entries.count > maxEntries) {
    const { size } = indexEntries(entries);
    if (size > maxEntries) throw tooMany(what, size, maxEntries);
  }
}

export function isBounded(type: MapType): boolean {
  return isKeyed(type) && !isArrayLike(type) && !type.startsWith("lru");
}

export function tooMany(what: string, count: number, maxEntries: number): Error {
  return refusal(what, `${count} entries do not fit in ${maxEntries} (E2BIG)`, "full", "BPF_MAP_UPDATE_ELEM");
}
