import { renderHex } from "@bpfleet/base";
import { indexEntries, isArrayLike, isPerCpu } from "./entries.ts";
import { fakeError, type FakeMap } from "./fake-world.ts";
import type { MapDefinition, MapEntries } from "./specs.ts";

/** CPUs that per-CPU maps of a fake kernel have values for. */
export const fakeCpus = 2;

/** All or nothing, as the port promises. */
export function writeFakeMap(map: FakeMap, puts: MapEntries, deletes: MapEntries): void {
  const { definition } = map;
  const after = new Map(map.entries);
  for (const [key, value] of indexEntries(puts)) {
    if (isArrayLike(definition.type) && !after.has(key)) {
      throw fakeError(
        "full",
        `write map ${map.identity.key}: it has ${definition.maxEntries} entries (E2BIG)`,
        "BPF_MAP_UPDATE_ELEM",
        "E2BIG",
      );
    }
    after.set(key, forAllCpus(definition, value));
  }
  for (const key of indexEntries(deletes).keys()) {
    if (isArrayLike(definition.type))
      throw fakeError(
        "invalid",
        `write map ${map.identity.key}: entries of an array cannot be deleted (EINVAL)`,
        "BPF_MAP_DELETE_ELEM",
        "EINVAL",
      );
    after.delete(key);
  }
  if (definition.type.startsWith("lru")) {
    for (const key of after.keys()) if (after.size > definition.maxEntries) after.delete(key);
  }
  if (after.size > definition.maxEntries) {
    throw fakeError(
      "full",
      `write map ${map.identity.key}: ${after.size} entries do not fit in ${definition.maxEntries}`,
      "BPF_MAP_UPDATE_ELEM",
      "E2BIG",
    );
  }
  map.entries.clear();
  for (const [key, value] of after) map.entries.set(key, value);
}

/** The same value for every CPU. */
export function forAllCpus(definition: MapDefinition, value: Uint8Array): Uint8Array {
  if (!isPerCpu(definition.type)) return value.slice();
  const stride = Math.ceil(definition.valueSize / 8) * 8;
  const values = new Uint8Array(stride * fakeCpus);
  for (let cpu = 0; cpu < fakeCpus; cpu++) values.set(value, cpu * stride);
  return values;
}

/** The values that an array has from its creation on. */
export function zeroEntries(definition: MapDefinition): Map<string, Uint8Array> {
  const zero = new Uint8Array(definition.valueSize);
  const indices = isArrayLike(definition.type)
    ? Array.from({ length: definition.maxEntries }, (_, index) => index)
    : [];
  return new Map(indices.map((index) => [indexKey(index), forAllCpus(definition, zero)]));
}

export function indexKey(index: number): string {
  const key = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, index, true);
  return renderHex(key);
}
