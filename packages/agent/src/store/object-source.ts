import type { ObjectRef } from "@bpfleet/base";
import type { StoreSnapshot } from "./stored-object.ts";
import type { StoreHint } from "./watch-store.ts";

/** Where the declared objects are: a directory, or an API server. */
export interface ObjectSource {
  /** For notices: a directory or an address. */
  readonly place: string;
  /** Tells from now on that something may be different; resolves when there is a snapshot to be had. */
  follow(onHint: (hint: StoreHint) => void): Promise<Disposable>;
  /** Looks again, at everything or at what was hinted. Whether anything is different now. */
  refresh(hint: StoreHint): Promise<boolean>;
  snapshot(): StoreSnapshot;
  /** `StoredObject.path` of an object. */
  pathOf(ref: ObjectRef): string;
  /**
   * Brings the Secrets of these names, `namespace/name`, into the snapshot. Whether it is another one now. A source
   * that has all Secrets has no use for it.
   */
  fetchSecrets?(names: readonly string[]): Promise<boolean>;
  /** Whether something waits for them to be others: they are looked at sooner then. */
  awaitSecrets?(isAwaited: boolean): void;
}
