import type { NativeHandle } from "./addon.ts";

/** The native descriptor behind an object of ours; outside this file nobody needs it. */
export const handleOf = Symbol("handle");

export abstract class Owner {
  readonly [handleOf]: NativeHandle;

  constructor(handle: NativeHandle) {
    this[handleOf] = handle;
  }

  /** The descriptor's number, -1 once closed. It stays ours: do not close it, do not keep it. */
  get fd(): number {
    return this[handleOf].fd;
  }

  get isClosed(): boolean {
    return this.fd < 0;
  }
}

/** Closing cannot sleep. */
export abstract class QuickOwner extends Owner implements Disposable {
  close(): void {
    this[handleOf].closeNow();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Makes an object of ours around a descriptor; outside this folder nobody can. */
export const fromHandle = Symbol("fromHandle");
