import { native } from "./addon.ts";
import { call } from "./bpf-error.ts";

let cpuCount: number | undefined;

/** CPUs that may ever be there: as many values as a per-CPU map has. */
export function possibleCpus(): number {
  cpuCount ??= call(() => native().possibleCpus());
  return cpuCount;
}
