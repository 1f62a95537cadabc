import { native } from "./addon.ts";
import type { BtfInfo, LinkInfo, MapInfo, ProgramInfo } from "./answers.ts";
import { call } from "./bpf-error.ts";
import { QuickOwner } from "./owner.ts";
import { programInfoOf } from "./program.ts";

export interface Listing {
  prog: ProgramInfo;
  map: MapInfo;
  link: LinkInfo;
  btf: BtfInfo;
}

/** Everything of one kind in the kernel, whoever made it. What vanishes meanwhile is left out. */
export async function list<K extends keyof Listing>(kind: K): Promise<Listing[K][]>;
export async function list(kind: keyof Listing): Promise<Listing[keyof Listing][]> {
  switch (kind) {
    case "prog":
      return (await call(() => native().listPrograms())).map(programInfoOf);
    case "map":
      return call(() => native().listMaps());
    case "link":
      return call(() => native().listLinks());
    case "btf":
      return call(() => native().listBtfs());
  }
}

export function rawBtf(id: number): Buffer {
  return call(() => native().rawBtf(id));
}

export function libbpfVersion(): string {
  return call(() => native().libbpfVersion());
}

/** While one is open, the kernel counts run time and runs of all programs. */
export class RunStatistics extends QuickOwner {
  static enable(): RunStatistics {
    return new RunStatistics(call(() => native().enableStats()));
  }
}

/**
 * An exclusive lock on a file or folder that is there; it ends with the process, however that ends. A BpfError of code
 * "busy" when another process holds it.
 */
export class PathLock extends QuickOwner {
  static take(path: string): PathLock {
    return new PathLock(call(() => native().lockPath(path)));
  }
}

/** Mounts a bpffs, mode 0700, on an existing directory. */
export function mountBpffs(path: string): Promise<void> {
  return call(() => native().mountBpffs(path));
}

export function unmount(path: string): Promise<void> {
  return call(() => native().unmount(path));
}

export function isBpffs(path: string): boolean {
  return call(() => native().isBpffs(path));
}

/** What programs see as bpf_get_current_cgroup_id(). */
export function cgroupId(path: string): bigint {
  return call(() => native().cgroupId(path));
}
