import { native } from "./addon.ts";
import { call } from "./bpf-error.ts";
import { QuickOwner } from "./owner.ts";

/** Type information in the kernel. */
export class Btf extends QuickOwner {
  static load(bytes: Uint8Array): Btf {
    return new Btf(call(() => native().loadBtf(bytes)));
  }
}
