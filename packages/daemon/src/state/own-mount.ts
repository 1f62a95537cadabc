import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** In the state directory. */
const ownMountFile = "mounted-bpffs";

/** Remembers that the bpffs at this path was mounted by us, so that nobody else's is unmounted at the end. */
export function rememberOwnMount(stateDirectory: string, path: string): void {
  writeFileSync(join(stateDirectory, ownMountFile), describe(path), { mode: 0o600 });
}

export function forgetOwnMount(stateDirectory: string): void {
  rmSync(join(stateDirectory, ownMountFile), { force: true });
}

/** Whether what is mounted there now is what we mounted. */
export function isOwnMount(stateDirectory: string, path: string): boolean {
  try {
    return readFileSync(join(stateDirectory, ownMountFile), "utf8") === describe(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** Numbers of devices are given anew after a reboot. */
function describe(path: string): string {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return `${boot} ${statSync(path).dev} ${resolve(path)}\n`;
}
