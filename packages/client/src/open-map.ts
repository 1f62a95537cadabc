import type { BtfValue } from "@bpfleet/btf";
import { openByDaemon } from "./daemon-map.ts";
import { openByKernel } from "./kernel-map.ts";
import { MapError } from "./map-error.ts";
import { readTypeFile, TypedMap } from "./map-types.ts";
import type { MapBytes } from "./map-bytes.ts";

/** Values of one entry: several where the map is per CPU. */
export interface MapEntry {
  readonly key: BtfValue;
  readonly values: readonly BtfValue[];
}

/** A map opened for reading only. */
export interface ReadableMap extends Disposable {
  /** Who reads it: this process by bpf(), or the daemon for it. */
  readonly via: "kernel" | "daemon";
  readonly keySize: number;
  /** Of one value; a map that is per CPU has one for each possible CPU. */
  readonly valueSize: number;
  /** C of key and value; `undefined` where nobody knows it. */
  readonly types: { readonly key: string; readonly value: string } | undefined;
  /** Bytes as the kernel has them; `undefined` when there is no such entry. */
  get(key: Uint8Array): Promise<readonly Buffer[] | undefined>;
  keys(): AsyncGenerator<Buffer, void, void>;
  /** By the types of the map; throws a MapError `no-types` where nobody knows them. */
  find(key: unknown): Promise<readonly BtfValue[] | undefined>;
  entries(): AsyncGenerator<MapEntry, void, void>;
}

export interface MapOptions {
  /** `either`, when not given: by the kernel; where that lets only the privileged read, by the daemon. */
  readonly via?: "kernel" | "daemon" | "either" | undefined;
  /** The daemon's socket for this; usually the environment's BPFLEET_MAPS_SOCKET, else the usual one. */
  readonly socket?: string | undefined;
  /** Folder of the types; usually the environment's BPFLEET_BTF, else the usual one. */
  readonly types?: string | undefined;
}

export const usualMapsSocket = "/run/bpfd/bpfleet-maps.sock";
export const usualTypes = "/run/bpfd/btf";

/**
 * Opens a map by the path of its pin; who may open the pin may. By bpf() it needs the optional package `@bpfleet/native`
 * and, without capabilities, Linux 5.19; else the daemon of this node reads it. Throws MapError.
 */
export async function openMap(path: string, options: MapOptions = {}): Promise<ReadableMap> {
  const {
    via = "either",
    socket = process.env["BPFLEET_MAPS_SOCKET"] || usualMapsSocket,
    types = process.env["BPFLEET_BTF"] || usualTypes,
  } = options;
  const map = await openBytes(path, via, socket);
  try {
    return new TypedMap(map, map.types ?? (await readTypeFile(types, path, map.id)));
  } catch (error) {
    map[Symbol.dispose]();
    throw error;
  }
}

async function openBytes(path: string, via: NonNullable<MapOptions["via"]>, socket: string): Promise<MapBytes> {
  if (via === "daemon") return openByDaemon(path, socket);
  const found = await openByKernel(path);
  if (!("isShut" in found)) return found;
  if (via === "kernel") throw new MapError(`open map ${path}: ${found.isShut}`, "no-permission");
  try {
    return await openByDaemon(path, socket);
  } catch (cause) {
    if (!(cause instanceof MapError) || cause.code !== "unreachable") throw cause;
    throw new MapError(`open map ${path}: ${found.isShut}; and ${cause.message}`, cause.code, cause);
  }
}
