import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";

/** What a reader needs to know of the machine before believing a figure. */
export interface MachineFacts {
  readonly kernel: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryGib: number;
  readonly load: number;
  readonly jit: string;
  readonly node: string;
  readonly clang: string;
  readonly commit: string;
  readonly at: string;
}

export function machineFacts(): MachineFacts {
  return {
    kernel: `${os.release()} ${os.machine()}`,
    cpu: os.cpus()[0]?.model ?? "unknown",
    cpus: os.availableParallelism(),
    memoryGib: Math.round(os.totalmem() / 2 ** 30),
    load: Number((os.loadavg()[0] ?? 0).toFixed(2)),
    jit: readText("/proc/sys/net/core/bpf_jit_enable"),
    node: process.version,
    clang: firstLine("clang", ["--version"]),
    commit: firstLine("git", ["rev-parse", "--short", "HEAD"]),
    at: new Date().toISOString(),
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "unknown";
  }
}

function firstLine(command: string, argv: readonly string[]): string {
  try {
    return execFileSync(command, argv, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")[0] ?? "";
  } catch {
    return "not found";
  }
}
