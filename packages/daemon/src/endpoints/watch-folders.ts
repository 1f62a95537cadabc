import { watch, type FSWatcher } from "node:fs";

/** Tells of what comes, goes and changes in folders; those that are not there are not watched. */
export class FolderWatches implements Disposable {
  readonly #onEvent: (folder: string, name: string | undefined) => void;
  readonly #watches = new Map<string, FSWatcher>();

  constructor(onEvent: (folder: string, name: string | undefined) => void) {
    this.#onEvent = onEvent;
  }

  /** These and no others. Whether one of them is newly watched: what happened before is not told. */
  set(folders: ReadonlySet<string>): boolean {
    for (const folder of this.#watches.keys()) if (!folders.has(folder)) this.#end(folder);
    let isNew = false;
    for (const folder of folders) isNew = this.#begin(folder) || isNew;
    return isNew;
  }

  [Symbol.dispose](): void {
    this.set(new Set());
  }

  #begin(folder: string): boolean {
    if (this.#watches.has(folder)) return false;
    try {
      const watcher = watch(folder, { persistent: false }, (event, name) => {
        this.#onEvent(folder, name ?? undefined);
        // It is gone itself, perhaps to come back as another one.
        if (event === "rename" && name !== null && folder.endsWith(`/${name}`)) this.#end(folder);
      });
      watcher.on("error", () => this.#end(folder));
      this.#watches.set(folder, watcher);
      return true;
    } catch {
      return false;
    }
  }

  #end(folder: string): void {
    this.#watches.get(folder)?.close();
    this.#watches.delete(folder);
  }
}
