import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import type { CgroupAttach } from "@bpfleet/kernel";
import { cgroupId } from "./binding.ts";
import { refusal } from "./kernel-error.ts";

export const cgroupAttachTypes: Readonly<Record<CgroupAttach, string>> = {
  ingress: "cgroup_inet_ingress",
  egress: "cgroup_inet_egress",
  device: "cgroup_device",
  sock_ops: "cgroup_sock_ops",
  sock_create: "cgroup_inet_sock_create",
  sock_release: "cgroup_inet_sock_release",
  bind4: "cgroup_inet4_bind",
  bind6: "cgroup_inet6_bind",
  post_bind4: "cgroup_inet4_post_bind",
  post_bind6: "cgroup_inet6_post_bind",
  connect4: "cgroup_inet4_connect",
  connect6: "cgroup_inet6_connect",
  sendmsg4: "cgroup_udp4_sendmsg",
  sendmsg6: "cgroup_udp6_sendmsg",
  recvmsg4: "cgroup_udp4_recvmsg",
  recvmsg6: "cgroup_udp6_recvmsg",
  getpeername4: "cgroup_inet4_getpeername",
  getpeername6: "cgroup_inet6_getpeername",
  getsockname4: "cgroup_inet4_getsockname",
  getsockname6: "cgroup_inet6_getsockname",
  getsockopt: "cgroup_getsockopt",
  setsockopt: "cgroup_setsockopt",
  sysctl: "cgroup_sysctl",
};

/** Where cgroup v2 is mounted; machines with both versions mount it deeper than /sys/fs/cgroup. */
export function cgroupRoot(): string | undefined {
  const mounts = fs
    .readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "));
  return mounts.find(([, , type]) => type === "cgroup2")?.[1];
}

/** The folder of a cgroup given below the mount of cgroup v2, or absolutely. */
export function cgroupFolder(path: string): string {
  const root = cgroupRoot();
  if (root === undefined) {
    throw refusal(
      `attach to cgroup ${path}`,
      "cgroup v2 is not mounted on this node; its programs need it",
      "not-supported",
      "STATFS",
    );
  }
  const folder = path === root || path.startsWith(`${root}/`) ? path : join(root, path);
  if (!fs.existsSync(folder))
    throw refusal(`attach to cgroup ${path}`, "there is no such cgroup (ENOENT)", "not-found", "OPEN");
  return folder;
}

/** `undefined` when it is not there. */
export function findCgroupId(path: string): bigint | undefined {
  try {
    return cgroupId(cgroupFolder(path));
  } catch {
    return undefined;
  }
}

/** Ids of those that are there. Each folder above them is read once, however many there are: most may be missing. */
export function findCgroupIds(paths: readonly string[]): ReadonlyMap<string, bigint> {
  const found = new Map<string, bigint>();
  const root = paths.length === 0 ? undefined : cgroupRoot();
  if (root === undefined) return found;
  for (const [parent, below] of familiesOf(paths, root)) {
    for (const name of namesIn(parent)) {
      const asked = below.get(name);
      if (asked === undefined) continue;
      try {
        const id = cgroupId(`${parent}/${name}`);
        for (const path of asked) found.set(path, id);
      } catch {
        // It went meanwhile.
      }
    }
  }
  return found;
}

/** Folder → name of a folder in it → how it was asked for. */
type Families = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

/** The same list is looked for every second. */
const knownFamilies = new WeakMap<readonly string[], { readonly root: string; readonly families: Families }>();

function familiesOf(paths: readonly string[], root: string): Families {
  const known = knownFamilies.get(paths);
  if (known?.root === root) return known.families;
  const folderOf = (path: string): string => (path === root || path.startsWith(`${root}/`) ? path : join(root, path));
  const families = new Map<string, ReadonlyMap<string, readonly string[]>>();
  for (const [parent, below] of Map.groupBy(paths, (path) => dirname(folderOf(path))))
    families.set(
      parent,
      Map.groupBy(below, (path) => basename(folderOf(path))),
    );
  knownFamilies.set(paths, { root, families });
  return families;
}

function namesIn(folder: string): readonly string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

/** Paths below the root by cgroup id, of the whole tree. */
export function cgroupPaths(): ReadonlyMap<bigint, string> {
  const root = cgroupRoot();
  const found = new Map<bigint, string>();
  if (root === undefined) return found;
  const visit = (path: string): void => {
    const folder = join(root, path);
    let names: fs.Dirent[];
    try {
      found.set(cgroupId(folder), path === "" ? "/" : path);
      names = fs.readdirSync(folder, { withFileTypes: true });
    } catch {
      return; // It went away while we looked.
    }
    for (const name of names) if (name.isDirectory()) visit(`${path}/${name.name}`);
  };
  visit("");
  return found;
}
