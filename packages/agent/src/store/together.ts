import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { changerOf } from "../atomic-file.ts";

/** Who is at it touches its file four times in so long; a process that was stopped in the middle is not waited for. */
const mostMs = 2000;
const lookMs = 2;

export interface DirectoryState {
  /** Nobody is changing several files as one just now. */
  readonly isWhole: boolean;
  /** Another one whenever somebody began or ended to. */
  readonly version: string;
}

export function readState(directory: string): DirectoryState {
  try {
    const version = String(statSync(directory, { bigint: true }).mtimeNs);
    return { isWhole: !readdirSync(directory).some((name) => isAlive(directory, name)), version };
  } catch {
    return { isWhole: true, version: "" };
  }
}

/** Whether several files may have been changed as one since then. */
export function isOther(directory: string, before: DirectoryState): boolean {
  const now = readState(directory);
  return !before.isWhole || !now.isWhole || now.version !== before.version;
}

/** Resolves when nobody is changing several files as one, or shows that it is at it yet. */
export async function whenWhole(directory: string): Promise<DirectoryState> {
  removeLeft(directory);
  for (; ; await sleep(lookMs)) {
    const state = readState(directory);
    if (state.isWhole) return state;
  }
}

/** What processes left that were killed in the middle. */
function removeLeft(directory: string): void {
  try {
    for (const name of readdirSync(directory)) {
      const pid = changerOf(name);
      // One that is not seen from here may yet be at it, for a moment.
      if (pid !== undefined && isOld(directory, name) && !isRunning(pid))
        rmSync(join(directory, name), { force: true });
    }
  } catch {
    // It is not there, or not ours to change: nobody waits for what is left.
  }
}

function isAlive(directory: string, name: string): boolean {
  const pid = changerOf(name);
  try {
    return pid !== undefined && !isOld(directory, name) && isRunning(pid);
  } catch {
    return false;
  }
}

function isOld(directory: string, name: string): boolean {
  // In the future: the clock was set back.
  return Math.abs(Date.now() - statSync(join(directory, name)).mtimeMs) > mostMs;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
