import type { MapEntries } from "@bpfleet/kernel";

/** Sums a per-CPU array of u64 over its CPUs: one total per index. */
export function sumPerCpu(entries: MapEntries | undefined, length: number): bigint[] {
  const totals = Array.from({ length }, () => 0n);
  if (entries === undefined || entries.count === 0) return totals;
  const keys = new DataView(entries.keys.buffer, entries.keys.byteOffset, entries.keys.byteLength);
  const values = new DataView(entries.values.buffer, entries.values.byteOffset, entries.values.byteLength);
  const stride = entries.values.byteLength / entries.count;
  for (let entry = 0; entry < entries.count; entry++) {
    const index = keys.getUint32(entry * 4, true);
    for (let at = entry * stride; at < (entry + 1) * stride; at += 8) {
      totals[index] = (totals[index] ?? 0n) + values.getBigUint64(at, true);
    }
  }
  return totals;
}
