import { native } from "./addon.ts";
import type { NativeClsBpf, NativeHook, NativePlacement } from "./addon.ts";
import type { ClsBpfState, HookState, XdpMode } from "./answers.ts";
import { withNetns } from "./netns.ts";
import type { Netns } from "./netns.ts";

export type Target =
  /** Without a mode the kernel takes native where the driver can, else skb. */
  | { readonly xdp: number; readonly mode?: XdpMode }
  | { readonly tcx: number; readonly dir: "ingress" | "egress" }
  | { readonly netkit: number; readonly peer?: boolean }
  /** `attachType` as bpftool writes it: cgroup_inet_ingress, cgroup_inet4_connect, cgroup_sock_ops … */
  | { readonly cgroup: string; readonly attachType: string }
  | { readonly netns: string; readonly attachType: "sk_lookup" | "flow_dissector" }
  | { readonly rawTracepoint: string }
  /** `category/name` */
  | { readonly tracepoint: string }
  /** A function of the kernel, by perf event. */
  | { readonly kprobe: string; readonly offset: number; readonly isReturn: boolean }
  /** An executable or library, and an offset in the file. */
  | { readonly uprobe: string; readonly offset: number; readonly isReturn: boolean }
  /** fentry and fexit: where, the program was loaded with. */
  | { readonly tracing: string };

/** Relative to link ids, or with `program` to a program that has no link. */
export type Order =
  | { readonly before: number }
  | { readonly after: number }
  | { readonly beforeProgram: number }
  | { readonly afterProgram: number }
  | { readonly first: true }
  | { readonly last: true };

export interface AttachOptions {
  /** A path or an open namespace: where the ifindex is looked up. */
  inNetns?: string | Netns;
  /** For tcx and netkit, on newest kernels cgroups. */
  order?: Order;
  /** For tcx and netkit: refuse with "stale" when the hook has changed since queryHook(). */
  expectedRevision?: bigint;
}

const xdpModeFlags = { skb: 2, native: 4, hw: 8 } as const;
/** BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID, BPF_F_LINK of linux/bpf.h. */
const orderFlags = { before: 8, after: 16, id: 32, link: 8192 } as const;

export function hookOf(target: Target): NativeHook {
  if ("xdp" in target)
    return {
      kind: "xdp",
      name: `xdp of ifindex ${target.xdp}`,
      attachType: "xdp",
      ifindex: target.xdp,
    };
  if ("tcx" in target) {
    return {
      kind: "tcx",
      name: `tcx ${target.dir} of ifindex ${target.tcx}`,
      attachType: `tcx_${target.dir}`,
      ifindex: target.tcx,
    };
  }
  if ("netkit" in target) {
    const side = target.peer ? "peer" : "primary";
    return {
      kind: "netkit",
      name: `netkit ${side} of ifindex ${target.netkit}`,
      attachType: `netkit_${side}`,
      ifindex: target.netkit,
    };
  }
  if ("cgroup" in target) {
    return {
      kind: "cgroup",
      name: `${target.attachType} of ${target.cgroup}`,
      attachType: target.attachType,
      path: target.cgroup,
    };
  }
  if ("netns" in target) {
    return {
      kind: "netns",
      name: `${target.attachType} of ${target.netns}`,
      attachType: target.attachType,
      path: target.netns,
    };
  }
  if ("rawTracepoint" in target) {
    return {
      kind: "raw-tracepoint",
      name: `raw tracepoint ${target.rawTracepoint}`,
      attachType: "",
      tracepoint: target.rawTracepoint,
    };
  }
  if ("kprobe" in target) return probe("kprobe", target.kprobe, target);
  if ("uprobe" in target) return probe("uprobe", target.uprobe, target);
  if ("tracing" in target) return { kind: "tracing", name: `function ${target.tracing}`, attachType: "" };
  return {
    kind: "tracepoint",
    name: `tracepoint ${target.tracepoint}`,
    attachType: "",
    tracepoint: target.tracepoint,
  };
}

function probe(kind: string, place: string, { offset, isReturn }: { offset: number; isReturn: boolean }): NativeHook {
  const name = `${isReturn ? kind.replace("probe", "retprobe") : kind} ${place}+${offset}`;
  return { kind, name, attachType: "", tracepoint: place, offset: BigInt(offset), isReturn };
}

export function placementOf(target: Target, options: AttachOptions): NativePlacement {
  const modeFlags = "xdp" in target && target.mode ? xdpModeFlags[target.mode] : 0;
  const [flags, relativeId] = orderOf(options.order);
  return {
    flags: modeFlags | flags,
    ...(relativeId === undefined ? {} : { relativeId }),
    ...(options.expectedRevision === undefined ? {} : { expectedRevision: options.expectedRevision }),
  };
}

function orderOf(order: Order | undefined): readonly [flags: number, relativeId?: number] {
  if (!order) return [0];
  if ("first" in order) return [orderFlags.before];
  if ("last" in order) return [orderFlags.after];
  if ("before" in order) return [orderFlags.before | orderFlags.id | orderFlags.link, order.before];
  if ("after" in order) return [orderFlags.after | orderFlags.id | orderFlags.link, order.after];
  if ("beforeProgram" in order) return [orderFlags.before | orderFlags.id, order.beforeProgram];
  return [orderFlags.after | orderFlags.id, order.afterProgram];
}

/** Who is on a hook, in order of running. Not for tracepoints. */
export function queryHook(target: Target, options: { inNetns?: string | Netns } = {}): Promise<HookState> {
  return withNetns(options.inNetns, (netns) => native().queryHook(hookOf(target), netns));
}

/** A filter of cls_bpf, in direct-action mode. */
export interface ClsBpf {
  readonly ifindex: number;
  readonly direction: "ingress" | "egress";
  readonly handle: number;
  readonly priority: number;
  readonly inNetns?: string | Netns;
}

export function clsBpfOf(at: ClsBpf): NativeClsBpf {
  return {
    ifindex: at.ifindex,
    isEgress: at.direction === "egress",
    handle: at.handle,
    priority: at.priority,
  };
}

/** False when there was no such filter. */
export function detachClsBpf(at: ClsBpf): Promise<boolean> {
  return withNetns(at.inNetns, (netns) => native().detachClsBpf(clsBpfOf(at), netns));
}

export async function queryClsBpf(at: ClsBpf): Promise<ClsBpfState | undefined> {
  return (await withNetns(at.inNetns, (netns) => native().queryClsBpf(clsBpfOf(at), netns))) ?? undefined;
}
