import { readFileSync, statSync } from "node:fs";
import { KernelError } from "@bpfleet/base";
import { BpfError, PathLock } from "@bpfleet/native";

/**
 * Takes a folder for this process alone: two daemons over the same pins or the same state would undo
 * each other's work. The kernel lets go of it with the process, however that ends.
 */
export function lockFolder(path: string): Disposable {
  try {
    return PathLock.take(path);
  } catch (cause) {
    if (!(cause instanceof BpfError)) throw cause;
    if (cause.code !== "busy")
      throw new KernelError(`lock ${path}: ${cause.message}`, {
        code: cause.code === "not-permitted" ? "no-permission" : "internal",
        call: "flock",
        errno: cause.errnoName,
        retry: "when-changed",
        cause,
      });
    const pid = findHolder(path);
    const holder = pid === undefined ? "another daemon" : `the daemon with pid ${pid}`;
    throw new KernelError(`lock ${path}: ${holder} works there already; stop it, or choose other folders`, {
      code: "busy",
      call: "flock",
      errno: cause.errnoName,
      retry: "when-changed",
      cause,
    });
  }
}

/** Lines of /proc/locks: `1: FLOCK  ADVISORY  WRITE 1234 00:2f:5678 0 EOF`. A pid of another namespace is 0 or missing. */
function findHolder(path: string, locks = readFileSync("/proc/locks", "utf8")): number | undefined {
  const { dev, ino } = statSync(path, { bigint: true });
  const [major, minor] = [(dev >> 8n) & 0xfffn, (dev & 0xffn) | ((dev >> 12n) & 0xfff00n)];
  const hex = (value: bigint): string => value.toString(16).padStart(2, "0");
  const file = `${hex(major)}:${hex(minor)}:${ino}`;
  const line = locks
    .split("\n")
    .map((each) => each.trim().split(/ +/))
    .find((words) => words[1] === "FLOCK" && words.includes(file));
  const pid = Number(line?.[line.indexOf(file) - 1]);
  return pid > 0 ? pid : undefined;
}
