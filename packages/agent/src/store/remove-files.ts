import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { changeTogether, syncDirectory } from "../atomic-file.ts";

export interface RemoveOutcome {
  /** Of each, up to the one that cannot be removed. */
  readonly wereThere: readonly boolean[];
  /** Of that one. */
  readonly error?: Error;
}

/** One after another up to the first that cannot be removed; readers of the directory `within` take all of it as one. */
export async function removeFiles(paths: readonly string[], within: string): Promise<RemoveOutcome> {
  using _together = paths.length < 2 ? undefined : changeTogether(within);
  const wereThere: boolean[] = [];
  const changed = new Set<string>();
  let failure: { readonly error?: Error } = {};
  for (const path of paths) {
    try {
      await rm(path);
      changed.add(dirname(path));
      wereThere.push(true);
    } catch (error) {
      if (!isMissing(error)) {
        failure = { error: error instanceof Error ? error : new Error(String(error)) };
        break;
      }
      wereThere.push(false);
    }
  }
  for (const directory of changed) await syncDirectory(directory);
  return { wereThere, ...failure };
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}
