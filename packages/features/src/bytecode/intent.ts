import type { BytecodeSource } from "@bpfleet/kernel";
import type { Origin } from "@bpfleet/base";
import type { Intent } from "../feature.ts";
import type { PodCgroup } from "../filter/intent.ts";

/** A program that somebody brings: from an image or a file, attached where they say. */
export interface BytecodeIntent extends Intent {
  readonly feature: "bytecode";
  readonly source: BytecodeSource;
  /** As bpfd matched it: `pass` is the section `xdp/pass`, `xdp.frags/pass` or `pass`; or the function's name. */
  readonly section: string;
  readonly at: BytecodePlace;
  /** Lower runs first; 0 to 1000. */
  readonly priority: number;
  /** Verdict codes after which the next program runs. */
  readonly proceedOn: readonly number[];
  /** Values of `const volatile` variables by name; their types are the object's own. */
  readonly globals: Readonly<Record<string, GlobalWish>>;
  /** Map name in the object → the config whose map of that name is used instead. */
  readonly sharedMaps: Readonly<Record<string, SharedMap>>;
  /** What runs goes on when the image policy of the node comes to refuse it. */
  readonly keepsRevoked?: boolean | undefined;
}

export interface GlobalWish {
  readonly value: string | number | boolean | readonly (string | number | boolean)[];
  readonly origin: Origin;
}

export interface SharedMap {
  /** Name of a config of the same kind. */
  readonly config: string;
  readonly origin: Origin;
}

export type BytecodePlace =
  | { readonly hook: "xdp"; readonly interfaces: InterfaceWish }
  | { readonly hook: "tc"; readonly interfaces: InterfaceWish; readonly direction: "ingress" | "egress" }
  /** `syscalls/sys_enter_openat` */
  | { readonly hook: "tracepoint"; readonly name: string }
  /** `sys_enter` */
  | { readonly hook: "raw_tracepoint"; readonly name: string }
  | { readonly hook: "cgroup"; readonly attach: string; readonly pods: readonly PodCgroup[] }
  | { readonly hook: "kprobe" | "kretprobe"; readonly function: string; readonly offset: number }
  | {
      readonly hook: "uprobe" | "uretprobe";
      readonly binary: string;
      readonly function: string;
      readonly offset: number;
    }
  | { readonly hook: "fentry" | "fexit"; readonly function: string };

export type InterfaceWish =
  | { readonly names: readonly string[] }
  /** The interface that holds one of these addresses (the node's InternalIPs); without one, that of the default route. */
  | { readonly primary: true; readonly addresses: readonly string[] };
