import { watch, type FSWatcher } from "node:fs";
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { changerOf, isUnfinished } from "../atomic-file.ts";

export interface StoreWatch extends Disposable {
  /** Resolves when every directory that is there now is watched. */
  readonly isReady: Promise<void>;
}

/** What may have changed: some files, or anything at all. */
export type StoreHint = ReadonlySet<string> | "anything";

/** group / Kind / namespace below the root. */
const deepest = 3;
/** Of directories that the kernel would not let us watch, and of changes that it did not tell. */
const rescanMs = 10_000;

/**
 * Tells of changes in a store within a millisecond or two. Each directory is watched by itself; a hint is an
 * occasion to look, not a fact, and every ten seconds everything is looked at without one.
 */
export function watchStore(directory: string, onHint: (hint: StoreHint) => void): StoreWatch {
  const watchers = new Map<string, FSWatcher>();
  let isClosed = false;

  const drop = (path: string) => {
    watchers.get(path)?.close();
    watchers.delete(path);
  };

  const add = async (path: string, depth: number): Promise<void> => {
    if (isClosed || watchers.has(path)) return;
    try {
      if (!(await stat(path)).isDirectory() || watchers.has(path)) return;
      const watcher = watch(path, (_event, name) => onEvent(path, depth, name));
      watcher.on("error", () => drop(path));
      watchers.set(path, watcher);
      if (depth === deepest) return;
      for (const entry of await readdir(path, { withFileTypes: true })) {
        if (entry.isDirectory()) await add(join(path, entry.name), depth + 1);
      }
    } catch {
      drop(path); // It went meanwhile, or may not be watched: the rescan sees what is in it.
    }
  };

  const onEvent = (path: string, depth: number, name: string | null) => {
    if (isClosed) return;
    if (name !== null && changerOf(name) !== undefined) return onHint("anything");
    if (name !== null && isUnfinished(name)) return;
    if (name !== null && depth === deepest) {
      onHint(new Set([join(path, name)]));
      return;
    }
    if (name !== null) drop(join(path, name));
    const isMade = name === null ? Promise.resolve() : add(join(path, name), depth + 1);
    void isMade.then(() => isClosed || onHint("anything"));
  };

  const start = async () => {
    await mkdir(directory, { recursive: true });
    await add(directory, 0);
  };
  const rescan = setInterval(() => {
    void add(directory, 0);
    onHint("anything");
  }, rescanMs);
  rescan.unref();

  return {
    isReady: start(),
    [Symbol.dispose]() {
      isClosed = true;
      clearInterval(rescan);
      for (const path of watchers.keys()) drop(path);
    },
  };
}
