import { readFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";

export interface Mount {
  readonly target: string;
  readonly type: string;
}

/** Of this process's mount namespace; the last mount on a directory is the one that is seen. */
export function readMounts(): Mount[] {
  return parseMounts(readFileSync("/proc/self/mounts", "utf8"));
}

export function parseMounts(text: string): Mount[] {
  const mounts = new Map<string, Mount>();
  for (const line of text.split("\n")) {
    const [, target, type] = line.split(" ");
    if (target === undefined || type === undefined) continue;
    const path = unescape(target);
    mounts.delete(path);
    mounts.set(path, { target: path, type });
  }
  return [...mounts.values()];
}

/** The kernel writes spaces, tabs, newlines and backslashes as octal. */
function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** `undefined` where only cgroup v1 is mounted. */
export function findCgroup2(mounts: readonly Mount[]): string | undefined {
  return mounts.find((mount) => mount.type === "cgroup2")?.target;
}

/** A cgroup as objects name it: below the cgroup v2 mount, or absolute already. */
export function resolveCgroup(mount: string, path: string): string {
  const isThere = path === mount || path.startsWith(`${mount}/`);
  return isAbsolute(path) && isThere ? path : join(mount, path);
}
