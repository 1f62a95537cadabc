import { readFileSync } from "node:fs";

export interface Memory {
  /** Proportional set size: what is shared counts in part. */
  readonly pssMib: number;
  readonly rssMib: number;
}

/** Memory of a process, as the kernel counts it. */
export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? Number.NaN) / 1024;
  return { pssMib: field("Pss"), rssMib: field("Rss") };
}
