import { spawnSync } from "node:child_process";
import { globSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** What tests could leave behind on the machine: a key for each thing → how to call it in a message. */
export type Census = ReadonlyMap<string, string>;

/** Processes that the tests start carry this variable, whoever their parent is by now. */
export const markerVariable = "BPFLEET_TEST_RUN";

export function takeCensus(marker: string): Census {
  const census = new Map<string, string>();
  const add = (what: string, names: readonly string[]): void => {
    for (const name of names) census.set(`${what} ${name}`, `${what} ${name}`);
  };
  add("network namespace", list("/run/netns"));
  add("interface", list("/sys/class/net"));
  add("bpffs", mountsOf("bpf"));
  for (const mount of mountsOf("cgroup2")) add("cgroup", globSync(`${mount}/**/cgroup.procs`));
  add(
    "folder",
    list(tmpdir()).filter((name) => name.startsWith("bpfleet")),
  );
  const programs = listBpf("prog");
  const used = new Set(programs.flatMap((program) => program.map_ids ?? []));
  const maps = listBpf("map").filter((map) => used.has(map.id) || !isLostByKernel(map));
  for (const [what, objects] of [
    ["program", programs],
    ["map", maps],
    ["link", listBpf("link")],
  ] as const) {
    for (const { id, type, name } of objects)
      census.set(`${what} ${id}`, `${what} ${id} (${[type, name].filter(Boolean).join(" ")})`);
  }
  for (const pid of markedProcesses(marker)) {
    census.set(`process ${pid}`, `process ${pid} (${readText(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim()})`);
  }
  return census;
}

/** Keys of what came between two looks. */
export function findAdded(before: Census, after: Census): string[] {
  return [...after.keys()].filter((key) => !before.has(key));
}

/**
 * What of these keys is still there and does not belong to a process outside the tests, by its name. The
 * kernel frees some things late, and other people's things go by themselves: this looks again until its
 * patience ends.
 */
export async function findRemaining(keys: readonly string[], marker: string, patienceMs: number): Promise<Census> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const now = keys.length === 0 ? new Map<string, string>() : takeCensus(marker);
    const remaining = keys.filter((key) => now.has(key) && !belongsToOthers(key, marker));
    if (remaining.length === 0 || performance.now() > deadline)
      return new Map(remaining.map((key) => [key, now.get(key) ?? key]));
    await sleep(250);
  }
}

/** Ends what a test has left running, so that the next file starts clean. */
export function killLeftProcesses(marker: string): void {
  for (const pid of markedProcesses(marker)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

function belongsToOthers(key: string, marker: string): boolean {
  const [, object, id] = /^(program|map|link) (\d+)$/.exec(key) ?? [];
  if (object === undefined) {
    const pids = key.match(/\d{2,7}/g) ?? [];
    return !key.startsWith("process") && pids.some((pid) => isOfOthers(Number(pid), marker));
  }
  const line = new RegExp(`^${object === "program" ? "prog" : object}_id:\\s+${id}$`, "m");
  return globSync("/proc/[0-9]*/fdinfo/*").some((path) => {
    return line.test(readText(path)) && isOfOthers(Number(path.split("/")[2]), marker);
  });
}

function isOfOthers(pid: number, marker: string): boolean {
  const environment = readText(`/proc/${pid}/environ`);
  return pid !== process.pid && environment !== "" && !environment.includes(`${markerVariable}=${marker}\0`);
}

function markedProcesses(marker: string): number[] {
  return list("/proc")
    .filter((name) => /^\d+$/.test(name) && readText(`/proc/${name}/environ`).includes(`${markerVariable}=${marker}\0`))
    .map(Number);
}

function mountsOf(type: string): string[] {
  const lines = readText("/proc/self/mountinfo").split("\n");
  return lines.filter((line) => line.includes(` - ${type} `)).map((line) => line.split(" ")[4] ?? "");
}

interface BpfObject {
  readonly id: number;
  readonly type: string | number;
  readonly name?: string;
  readonly map_ids?: readonly number[];
}

/**
 * A prog_array that is opened by its id just after its last descriptor was closed, and closed again, stays
 * for good: prog_array_map_clear() takes a reference for each time, but its work is queued once. Anybody
 * who lists maps meanwhile can cause it, nobody can remove it. One in a pin is found with its bpffs.
 */
function isLostByKernel({ type }: BpfObject): boolean {
  return type === "prog_array";
}

function listBpf(kind: string): readonly BpfObject[] {
  const { status, stdout } = spawnSync("bpftool", ["-j", kind, "list"], { encoding: "utf8", maxBuffer: 64 << 20 });
  const value: unknown = status === 0 && stdout !== "" ? JSON.parse(stdout) : [];
  return Array.isArray(value) ? (value as readonly BpfObject[]) : [];
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Empty when it is gone, or not for us to read. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
