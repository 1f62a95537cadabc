import { join } from "node:path";
import type { ObjectRef } from "@bpfleet/base";
import { DirectoryStore, type DirectoryStoreOptions } from "./directory-store.ts";
import { objectPath } from "./object-path.ts";
import type { ObjectSource } from "./object-source.ts";
import type { StoreSnapshot } from "./stored-object.ts";
import { watchStore, type StoreHint } from "./watch-store.ts";

/** A directory of YAML files as the source of what is declared. */
export class DirectorySource implements ObjectSource {
  readonly place: string;
  readonly #store: DirectoryStore;

  constructor(options: DirectoryStoreOptions) {
    this.place = options.directory;
    this.#store = new DirectoryStore(options);
  }

  async follow(onHint: (hint: StoreHint) => void): Promise<Disposable> {
    const watch = watchStore(this.place, onHint);
    await watch.isReady;
    return watch;
  }

  refresh(hint: StoreHint): Promise<boolean> {
    return hint === "anything" ? this.#store.refresh() : this.#store.refreshFiles(hint);
  }

  snapshot(): StoreSnapshot {
    return this.#store.snapshot();
  }

  pathOf(ref: ObjectRef): string {
    return join(this.place, objectPath(ref, "yaml"));
  }
}
