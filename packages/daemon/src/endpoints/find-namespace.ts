import { closeSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { EndpointWish } from "@bpfleet/kernel";
import type { NamespaceRef } from "@bpfleet/netlink";
import type { Mount } from "../facts/mounts.ts";

export const namespaceFolder = "/run/netns";

/** A network namespace that was looked for; `close` it when it was asked about. */
export type FoundNamespace =
  | {
      readonly found: "other";
      readonly ref: NamespaceRef;
      readonly what: string;
      /** Names of interfaces inside over which a default route leads. */
      readonly routesAt: { readonly process: number } | { readonly namespace: string };
      readonly close: () => void;
    }
  /** The node's own. */
  | { readonly found: "own"; readonly what: string }
  | { readonly found: "nothing"; readonly why: string };

const noClose = (): void => undefined;
/** A pod is in all hierarchies of version 1 that its kubelet uses; these are among them. */
const firstHierarchies = ["pids", "memory", "cpu", "cpu,cpuacct", "systemd"];
const looksAtMost = 512;

export function findNamespace(wish: EndpointWish, cgroups: CgroupFolders): FoundNamespace {
  if (wish.netns !== undefined) return findByName(wish.netns);
  if (wish.cgroups !== undefined && wish.cgroups.length > 0) return findByCgroups(wish.cgroups, cgroups);
  return { found: "nothing", why: "nothing says which network namespace is the pod's" };
}

function findByName(name: string): FoundNamespace {
  const path = join(namespaceFolder, name);
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    const code = codeOf(error);
    const why =
      code === "ENOENT"
        ? `there is no network namespace ${name} yet (no ${path}); it is found as soon as it is made`
        : `open ${path}: it cannot be read (${code}); it is tried again`;
    return { found: "nothing", why };
  }
  const what = `network namespace ${name}`;
  if (isSame(fstatSync(fd, { bigint: true }), statSync("/proc/self/ns/net", { bigint: true }))) {
    closeSync(fd);
    return { found: "own", what };
  }
  return { found: "other", ref: { fd }, what, routesAt: { namespace: path }, close: () => closeSync(fd) };
}

/** By the process that has been there longest: later ones may have made namespaces of their own. */
function findByCgroups(cgroups: readonly string[], folders: CgroupFolders): FoundNamespace {
  let isHidden = false;
  for (const folder of folders.of(cgroups)) {
    if (!folders.has(folder)) continue;
    const pids = processesIn(folder);
    isHidden ||= pids.includes(0);
    const seen = pids.filter((pid) => pid !== 0).slice(0, looksAtMost);
    const [oldest] = seen
      .flatMap((pid) => {
        const started = startOf(pid);
        return started === undefined ? [] : [{ pid, started }];
      })
      .toSorted((a, b) => (a.started < b.started || (a.started === b.started && a.pid < b.pid) ? -1 : 1));
    if (oldest === undefined) continue;
    const { pid } = oldest;
    const what = `the network namespace of process ${pid}`;
    try {
      // Each network namespace has its own files there, which anybody may look at.
      const inside = statSync(`/proc/${pid}/net/dev`, { bigint: true });
      if (isSame(inside, statSync("/proc/self/net/dev", { bigint: true }))) return { found: "own", what };
    } catch {
      continue;
    }
    return { found: "other", ref: { pid }, what, routesAt: { process: pid }, close: noClose };
  }
  const where = cgroups.length === 1 ? `cgroup ${cgroups[0]}` : `any of its cgroups (${cgroups.join(", ")})`;
  return {
    found: "nothing",
    why: isHidden
      ? `the processes in ${where} are those of another PID namespace; run the daemon in the node's (hostPID)`
      : `there is no process in ${where} yet; it is found as soon as there is`,
  };
}

/** Where cgroups are at one moment. Most of those that are looked for may be missing: each folder above them is read once. */
export class CgroupFolders {
  readonly #roots: readonly string[];
  readonly #rootsText: string;
  readonly #names = new Map<string, ReadonlySet<string>>();

  constructor(mounts: readonly Mount[]) {
    const place = ({ target }: Mount): number => {
      const at = firstHierarchies.indexOf(basename(target));
      return at < 0 ? firstHierarchies.length : at;
    };
    this.#roots = [
      ...mounts.filter(({ type }) => type === "cgroup2"),
      ...mounts
        .filter(({ type }) => type === "cgroup")
        .toSorted((a, b) => place(a) - place(b))
        .slice(0, 2),
    ].map(({ target }) => target);
    this.#rootsText = this.#roots.join(" ");
  }

  /** Where these would be, version 2 first. */
  of(cgroups: readonly string[]): readonly string[] {
    const known = knownFolders.get(cgroups);
    if (known?.rootsText === this.#rootsText) return known.folders;
    const roots = this.#roots;
    const folders = roots.flatMap((root) =>
      cgroups.flatMap((path) => {
        if (path === root || path.startsWith(`${root}/`)) return [path];
        return roots.some((other) => path.startsWith(`${other}/`)) ? [] : [join(root, path)];
      }),
    );
    knownFolders.set(cgroups, { rootsText: this.#rootsText, folders });
    return folders;
  }

  /** Whether this folder is there. */
  has(folder: string): boolean {
    if (this.#roots.includes(folder)) return true;
    const parent = dirname(folder);
    let names = this.#names.get(parent);
    if (names === undefined) this.#names.set(parent, (names = namesIn(parent)));
    return names.has(basename(folder));
  }
}

/** Wishes stay the same for long. */
const knownFolders = new WeakMap<
  readonly string[],
  { readonly rootsText: string; readonly folders: readonly string[] }
>();

function namesIn(folder: string): ReadonlySet<string> {
  try {
    return new Set(readdirSync(folder));
  } catch {
    return new Set();
  }
}

function processesIn(folder: string): number[] {
  try {
    const own = readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n");
    const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [
      ...own.filter((line) => line !== "").map(Number),
      ...below.flatMap(({ name }) => processesIn(join(folder, name))),
    ];
  } catch {
    return [];
  }
}

/** Of a process, in clock ticks since the machine started; `undefined` when it is gone. */
function startOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

/** Interfaces over which default routes lead, as the kernel tells anybody of the namespace of a process. */
export function defaultRoutesOf(pid: number): ReadonlySet<string> {
  const rows = (name: string): string[][] => {
    try {
      return readFileSync(`/proc/${pid}/net/${name}`, "utf8")
        .split("\n")
        .map((line) => line.trim().split(/\s+/));
    } catch {
      return [];
    }
  };
  const zero = "00000000";
  const names = [
    ...rows("route").flatMap(([name, to, , , , , , mask]) => (to === zero && mask === zero ? [name] : [])),
    ...rows("ipv6_route").flatMap((row) => (row[0] === zero.repeat(4) && row[1] === "00" ? [row[9]] : [])),
  ];
  return new Set(names.flatMap((name) => (name === undefined || name === "lo" ? [] : [name])));
}

function isSame(a: { readonly dev: bigint; readonly ino: bigint }, b: { readonly dev: bigint; readonly ino: bigint }) {
  return a.dev === b.dev && a.ino === b.ino;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "?";
}
