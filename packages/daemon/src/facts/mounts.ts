import { readFileSync } from "node:fs";

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
