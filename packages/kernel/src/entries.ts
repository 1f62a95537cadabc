import { renderHex } from "@bpfleet/base";
import { mapFlags, type MapDefinition, type MapEntries, type MapType } from "./specs.ts";

/** Every index is always there: an entry nobody wants is zero, it cannot be deleted. */
export function isArrayLike(type: MapType): boolean {
  return type === "array" || type === "percpu_array";
}

/** One value for each CPU. */
export function isPerCpu(type: MapType): boolean {
  return type === "percpu_array" || type === "percpu_hash" || type === "lru_percpu_hash";
}

/** Its values are other maps: ids as they are read, descriptors as they are written. */
export function isMapOfMaps(type: MapType): boolean {
  return type === "array_of_maps" || type === "hash_of_maps";
}

/**
 * Whether a map of maps that was made for maps like `inner` takes this one. Arrays may differ in size if both have
 * the flag for it. Of per-CPU arrays the kernel takes any size too, but programs that use bpf_map_lookup_elem() then go
 * by the size of `inner`, even beyond the end of the map that is there.
 */
export function isAlike(inner: MapDefinition, map: MapDefinition, takesAnySize = false): boolean {
  const isFree = takesAnySize && inner.type === "percpu_array";
  const isSized = isArrayLike(inner.type) && (inner.flags & mapFlags.innerMap) === 0 && !isFree;
  return (
    inner.type === map.type &&
    inner.keySize === map.keySize &&
    inner.valueSize === map.valueSize &&
    inner.flags === map.flags &&
    (!isSized || inner.maxEntries === map.maxEntries)
  );
}

/** Slot → id of the map there, from the entries of a map of maps. */
export function slotsOf(entries: MapEntries): ReadonlyMap<number, number> {
  const view = ({ buffer, byteOffset, byteLength }: Uint8Array) => new DataView(buffer, byteOffset, byteLength);
  const [keys, values] = [view(entries.keys), view(entries.values)];
  return new Map(
    Array.from({ length: entries.count }, (_, at) => [keys.getUint32(at * 4, true), values.getUint32(at * 4, true)]),
  );
}

/** Its entries can be listed and written by key from user space. */
export function isKeyed(type: MapType): boolean {
  return isArrayLike(type) || isPerCpu(type) || type === "hash" || type === "lru_hash" || type === "lpm_trie";
}

/** Why entries of such a map cannot be listed. */
export function unlistable(type: MapType): string {
  return `${/^[aeiou]/.test(type) ? "an" : "a"} ${type} cannot be read entry by entry`;
}

export const noEntries: MapEntries = { count: 0, keys: new Uint8Array(0), values: new Uint8Array(0) };

/** Key in hexadecimal → value; of equal keys the last one counts. */
export function indexEntries(entries: MapEntries): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  if (entries.count === 0) return found;
  const keySize = entries.keys.length / entries.count;
  const valueSize = entries.values.length / entries.count;
  const keys = renderHex(entries.keys);
  for (let index = 0; index < entries.count; index++) {
    const key = keys.slice(index * keySize * 2, (index + 1) * keySize * 2);
    found.set(key, entries.values.subarray(index * valueSize, (index + 1) * valueSize));
  }
  return found;
}

/** Packs pairs of key (hexadecimal) and value. */
export function packEntries(pairs: Iterable<readonly [string, Uint8Array]>): MapEntries {
  const all = [...pairs];
  const [first] = all;
  if (first === undefined) return noEntries;
  const keySize = first[0].length / 2;
  const valueSize = first[1].length;
  const keys = new Uint8Array(keySize * all.length);
  const values = new Uint8Array(valueSize * all.length);
  for (const [index, [key, value]] of all.entries()) {
    for (let at = 0; at < keySize; at++)
      keys[index * keySize + at] = Number.parseInt(key.slice(at * 2, at * 2 + 2), 16);
    values.set(value, index * valueSize);
  }
  return { count: all.length, keys, values };
}

export interface EntryChanges {
  readonly puts: MapEntries;
  readonly deletes: MapEntries;
}

/**
 * What makes the present entries the wanted ones. Entries of others stay unless `prune`. Values of
 * per-CPU maps belong to the programs that write them: there only a missing entry is put.
 * `present: undefined` means that nothing is known: everything is put again.
 */
export function diffEntries(
  definition: MapDefinition,
  wanted: MapEntries,
  present: MapEntries | undefined,
  owned: ReadonlySet<string>,
  prune: boolean,
): EntryChanges {
  const want = indexEntries(wanted);
  const have = present === undefined ? undefined : indexEntries(present);
  const puts: [string, Uint8Array][] = [];
  for (const [key, value] of want) {
    const current = have?.get(key);
    if (current !== undefined && (isPerCpu(definition.type) || sameBytes(current, value))) continue;
    puts.push([key, value]);
  }
  const unwanted = [...(have?.keys() ?? owned)].filter((key) => !want.has(key) && (prune || owned.has(key)));
  if (!isArrayLike(definition.type)) {
    return { puts: packEntries(puts), deletes: packEntries(unwanted.map((key) => [key, new Uint8Array(0)])) };
  }
  if (!isPerCpu(definition.type)) {
    const zero = new Uint8Array(definition.valueSize);
    for (const key of unwanted) {
      if (have?.get(key)?.some((byte) => byte !== 0) ?? true) puts.push([key, zero]);
    }
  }
  return { puts: packEntries(puts), deletes: noEntries };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
