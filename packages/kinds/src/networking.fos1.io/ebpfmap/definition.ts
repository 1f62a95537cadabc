import type { MapDefinition } from "@bpfleet/kernel";
import type { EBPFMapSpec } from "./schema.ts";

/** Maps of this type are allocated as they fill; the kernel refuses them without it. */
export const noPrealloc = 1;

/** Memory pages are of this size wherever the product runs; ring buffers come in powers of two of them. */
const pageSizeBytes = 4096;
const maxRingBytes = 2 ** 31;

/** What the kernel is asked for: the sizes that a type dictates are filled in. */
export function mapDefinition(spec: EBPFMapSpec): MapDefinition {
  const { type, maxEntries, flags, keySize = 0, valueSize = 0 } = spec;
  switch (type) {
    case "array":
    case "percpu_array":
      return { type, keySize: 4, valueSize, maxEntries, flags };
    case "perf_event_array":
      return { type, keySize: 4, valueSize: 4, maxEntries, flags };
    case "lpm_trie":
      return { type, keySize, valueSize, maxEntries, flags: (flags | noPrealloc) >>> 0 };
    case "ringbuf":
      return { type, keySize: 0, valueSize: 0, maxEntries: ringBytes(maxEntries), flags };
    case "stack":
    case "queue":
      return { type, keySize: 0, valueSize, maxEntries, flags };
    default:
      return { type, keySize, valueSize, maxEntries, flags };
  }
}

/** The smallest size of a ring buffer that the kernel takes and that holds so many bytes. */
function ringBytes(atLeast: number): number {
  let bytes = pageSizeBytes;
  while (bytes < atLeast && bytes < maxRingBytes) bytes *= 2;
  return bytes;
}
