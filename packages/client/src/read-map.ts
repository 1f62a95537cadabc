import type { BpfMap } from "@bpfleet/native";

/** A map opened for reading only; keys and values are bytes as the kernel has them. */
export interface ReadableMap extends Disposable {
  readonly keySize: number;
  /** Of one value; a map that is per CPU gives one for each possible CPU, each filled up to 8 bytes. */
  readonly valueSize: number;
  /** `undefined` when there is no such entry. */
  get(key: Uint8Array): readonly Buffer[] | undefined;
  keys(): Generator<Buffer, void, void>;
}

/** Needs the optional package `@bpfleet/native`, Linux 5.19, and to be allowed to read the pin. */
export async function openMap(path: string): Promise<ReadableMap> {
  const { BpfMap } = await import("@bpfleet/native").catch((cause: unknown) => {
    throw new Error(`open map ${path}: the package @bpfleet/native is not installed`, { cause });
  });
  return readable(BpfMap.openPinned(path, { readOnly: true }));
}

function readable(map: BpfMap): ReadableMap {
  const { keySize, valueSize } = map.info;
  const isPerCpu = map.wholeValueSize !== valueSize;
  const stride = Math.ceil(valueSize / 8) * 8;
  return {
    keySize,
    valueSize,
    get(key) {
      const bytes = map.getRaw(key);
      if (bytes === undefined || !isPerCpu) return bytes === undefined ? undefined : [bytes];
      const count = bytes.length / stride;
      return Array.from({ length: count }, (_, cpu) => bytes.subarray(cpu * stride, cpu * stride + valueSize));
    },
    *keys() {
      for (let key = map.nextKeyRaw(); key !== undefined; key = map.nextKeyRaw(key)) yield key;
    },
    [Symbol.dispose]: () => map[Symbol.dispose](),
  };
}
