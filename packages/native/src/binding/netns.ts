import { native } from "./addon.ts";
import type { NativeHandle } from "./addon.ts";
import { call } from "./bpf-error.ts";
import { QuickOwner, handleOf } from "./owner.ts";

/** A network namespace held open, for `inNetns`. */
export class Netns extends QuickOwner {
  /** `/run/netns/NAME`, `/proc/PID/ns/net` */
  static open(path: string): Netns {
    return new Netns(call(() => native().openNetns(path)));
  }
}

export function openNetns(path: string): Netns {
  return Netns.open(path);
}

/** Runs with a namespace's descriptor; a path is opened before the first await and closed when the work has begun. */
export function withNetns<T>(netns: string | Netns | undefined, run: (handle?: NativeHandle) => T): T {
  if (netns === undefined) return call(() => run());
  if (netns instanceof Netns) return call(() => run(netns[handleOf]));
  using opened = Netns.open(netns);
  return call(() => run(opened[handleOf]));
}
