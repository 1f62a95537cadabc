import { resolve } from "node:path";
import type { MapRef } from "@bpfleet/daemon/client";
import { findKindByName } from "@bpfleet/kinds";
import { Failure } from "../failure.ts";

/** Where relative paths begin, and what is there. */
export interface Paths {
  readonly cwd: string;
  readonly exists: (path: string) => boolean;
}

/**
 * `7` is an id, `/run/bpfd/fs/maps/…`, `./UUID/stats` and any path with a slash that is there a pin, `ebpfmap/NAME`
 * an object, and anything else a key of ours.
 */
export function parseMapRef(text: string, namespace: string, { cwd, exists }: Paths): MapRef {
  if (/^[1-9]\d{0,9}$/.test(text) && Number(text) < 2 ** 32) return { by: "id", id: Number(text) };
  const path = resolve(cwd, text);
  if (/^\.{0,2}\//.test(text)) return { by: "pin-path", path };
  const [type = "", name, ...more] = text.split("/");
  if (name !== undefined && more.length === 0 && name !== "" && findKindByName(type)?.kind === "EBPFMap")
    return { by: "key", key: `maps/${namespace}/${name}` };
  if (text === "" || name === undefined)
    throw new Failure(
      `invalid map ${JSON.stringify(text)}: give its id, its pin path, ebpfmap/NAME, or a key as \`ebpfctl map list\` has it`,
    );
  return exists(path) ? { by: "pin-path", path } : { by: "key", key: text };
}
