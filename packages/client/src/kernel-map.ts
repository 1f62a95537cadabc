import type * as Native from "@bpfleet/native";
import type { MapBytes } from "./map-bytes.ts";
import { MapError, type MapErrorCode } from "./map-error.ts";

/** Why the kernel lets nobody without rights read any map. */
export interface Shut {
  readonly isShut: string;
}

const codes: Readonly<Record<string, MapErrorCode>> = {
  "not-found": "not-found",
  "not-permitted": "no-permission",
};

export async function openByKernel(path: string): Promise<MapBytes | Shut> {
  let native: typeof Native;
  try {
    native = await import("@bpfleet/native");
  } catch {
    return { isShut: "the package @bpfleet/native is not installed" };
  }
  try {
    return bytesOf(native.BpfMap.openPinned(path, { readOnly: true }), path);
  } catch (cause) {
    if (!(cause instanceof native.BpfError)) throw cause;
    // The mode of the pin says EACCES; kernel.unprivileged_bpf_disabled before Linux 5.19, and filters of system calls, EPERM.
    if (cause.errnoName === "EPERM") return { isShut: "the kernel keeps bpf() from processes without CAP_BPF (EPERM)" };
    const help = cause.errnoName === "EACCES" ? "; run in the group that ebpfctl up --maps-group names" : "";
    throw new MapError(`open map ${path}: ${cause.message}${help}`, codes[cause.code] ?? "other", cause);
  }
}

function bytesOf(map: Native.BpfMap, path: string): MapBytes {
  const { id, keySize, valueSize } = map.info;
  const reading = async <T>(work: () => T | Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      const { message } = cause instanceof Error ? cause : { message: String(cause) };
      throw new MapError(`read map ${path}: ${message}`, "other", cause);
    }
  };
  return {
    via: "kernel",
    id,
    keySize,
    valueSize,
    isPerCpu: map.wholeValueSize !== valueSize,
    types: undefined,
    get: (key) => reading(() => map.getRaw(key)),
    read: () => reading(() => map.readBatch()),
    [Symbol.dispose]: () => map[Symbol.dispose](),
  };
}
