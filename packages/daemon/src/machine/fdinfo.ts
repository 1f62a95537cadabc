import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { HoldingProcess } from "./machine.ts";

/** `name: value` lines of /proc/PID/fdinfo/FD. */
export function readFdinfo(pid: number | "self", fd: number): ReadonlyMap<string, string> {
  return parseFdinfo(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"));
}

export function parseFdinfo(text: string): ReadonlyMap<string, string> {
  const fields = text.split("\n").map((line) => /^([^:]+):\s*(.*)$/.exec(line));
  return new Map(fields.flatMap((field) => (field === null ? [] : [[field[1] ?? "", (field[2] ?? "").trim()]])));
}

/** Every process that holds a descriptor of BPF; those that end meanwhile are left out. */
export async function findHolders(): Promise<HoldingProcess[]> {
  const found: HoldingProcess[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const held = heldBy(Number(name));
    if (held !== undefined) found.push(held);
    await nextTurn();
  }
  return found;
}

function heldBy(pid: number): HoldingProcess | undefined {
  const programIds = new Set<number>();
  const mapIds = new Set<number>();
  const linkIds = new Set<number>();
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      if (!isBpfDescriptor(pid, fd)) continue;
      const fields = unlessGone(() => readFdinfo(pid, Number(fd)));
      if (fields === undefined) continue;
      const [link, map, program] = ["link_id", "map_id", "prog_id"].map((name) => Number(fields.get(name) ?? 0));
      if (link !== undefined && link > 0) linkIds.add(link);
      else if (map !== undefined && map > 0) mapIds.add(map);
      else if (program !== undefined && program > 0) programIds.add(program);
    }
    if (programIds.size + mapIds.size + linkIds.size === 0) return undefined;
    const cgroup = parseCgroup(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
    return {
      pid,
      // Anybody may name a process; nobody may steer a terminal by it.
      command: readFileSync(`/proc/${pid}/comm`, "utf8")
        .trim()
        .replace(/[^\x20-\x7e]/g, "?"),
      cgroup,
      ...parsePod(cgroup),
      programIds: [...programIds],
      mapIds: [...mapIds],
      linkIds: [...linkIds],
    };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function isBpfDescriptor(pid: number, fd: string): boolean {
  return unlessGone(() => readlinkSync(`/proc/${pid}/fd/${fd}`))?.startsWith("anon_inode:bpf") ?? false;
}

function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** It ended, or is another user's and we are not root. */
function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ESRCH" || code === "EACCES" || code === "EPERM";
}

/** The path in the one hierarchy of v2; where v1 is in use too, that of its longest path. */
export function parseCgroup(text: string): string {
  const paths = text.split("\n").flatMap((line) => {
    const match = /^(\d+):[^:]*:(.*)$/.exec(line);
    return match === null ? [] : [{ isUnified: match[1] === "0", path: match[2] ?? "" }];
  });
  const unified = paths.find(({ isUnified, path }) => isUnified && path !== "/")?.path;
  const longest = paths.map(({ path }) => path).toSorted((a, b) => b.length - a.length)[0];
  return unified ?? longest ?? "";
}

/** As the kubelet names cgroups, by systemd (`kubepods-burstable-podUID.slice`) or by itself (`kubepods/podUID`). */
export function parsePod(cgroup: string): { readonly podUid?: string; readonly containerId?: string } {
  const uid = /pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})/.exec(cgroup)?.[1];
  if (uid === undefined) return {};
  const container = /(?:^|[/-])([0-9a-f]{64})(?:\.scope)?$/.exec(cgroup)?.[1];
  return { podUid: uid.replaceAll("_", "-"), ...(container !== undefined && { containerId: container }) };
}
