import type { ProgramType } from "./specs.ts";

export const cgroupAttaches = [
  "ingress",
  "egress",
  "device",
  "sock_ops",
  "sock_create",
  "sock_release",
  "bind4",
  "bind6",
  "post_bind4",
  "post_bind6",
  "connect4",
  "connect6",
  "sendmsg4",
  "sendmsg6",
  "recvmsg4",
  "recvmsg6",
  "getpeername4",
  "getpeername6",
  "getsockname4",
  "getsockname6",
  "getsockopt",
  "setsockopt",
  "sysctl",
] as const;

export type CgroupAttach = (typeof cgroupAttaches)[number];

/** The type of the programs that a cgroup takes there. */
export const cgroupProgramTypes: Readonly<Record<CgroupAttach, ProgramType>> = {
  ingress: "cgroup_skb",
  egress: "cgroup_skb",
  device: "cgroup_device",
  sock_ops: "sock_ops",
  sock_create: "cgroup_sock",
  sock_release: "cgroup_sock",
  bind4: "cgroup_sock_addr",
  bind6: "cgroup_sock_addr",
  post_bind4: "cgroup_sock",
  post_bind6: "cgroup_sock",
  connect4: "cgroup_sock_addr",
  connect6: "cgroup_sock_addr",
  sendmsg4: "cgroup_sock_addr",
  sendmsg6: "cgroup_sock_addr",
  recvmsg4: "cgroup_sock_addr",
  recvmsg6: "cgroup_sock_addr",
  getpeername4: "cgroup_sock_addr",
  getpeername6: "cgroup_sock_addr",
  getsockname4: "cgroup_sock_addr",
  getsockname6: "cgroup_sock_addr",
  getsockopt: "cgroup_sockopt",
  setsockopt: "cgroup_sockopt",
  sysctl: "cgroup_sysctl",
};

/** Where a program runs. Interfaces are named, not numbered: a re-created interface is the same wish. */
export type HookPoint =
  | { readonly hook: "xdp"; readonly interface: string }
  | { readonly hook: "tc"; readonly interface: string; readonly direction: "ingress" | "egress" }
  | { readonly hook: "cgroup"; readonly path: string; readonly attach: CgroupAttach; readonly member: string }
  | TracingPoint;

/** Hooks at which a program watches: each has a link of its own, and its verdict means nothing. */
export type TracingPoint =
  /** `name` of a tracepoint is `category/name`. */
  | { readonly hook: "tracepoint" | "raw_tracepoint"; readonly name: string; readonly member: string }
  | {
      readonly hook: "kprobe" | "kretprobe";
      readonly function: string;
      readonly offset: number;
      readonly member: string;
    }
  | {
      readonly hook: "uprobe" | "uretprobe";
      /** Absolute path of the executable or library. */
      readonly binary: string;
      /** A symbol of it; `""`: the offset is one of the file. */
      readonly function: string;
      readonly offset: number;
      readonly member: string;
    }
  /** The function is the one that the program was loaded for. */
  | { readonly hook: "fentry" | "fexit"; readonly function: string; readonly member: string };

export function isTracingPoint(point: HookPoint): point is TracingPoint {
  return !isInterfacePoint(point) && point.hook !== "cgroup";
}

/** Hooks that several programs share, and that judge packets of one interface. */
export type InterfacePoint = Extract<HookPoint, { readonly interface: string }>;

export function isInterfacePoint(point: HookPoint): point is InterfacePoint {
  return point.hook === "xdp" || point.hook === "tc";
}

export function renderHookKey(point: HookPoint): string {
  switch (point.hook) {
    case "xdp":
      return `xdp/${point.interface}`;
    case "tc":
      return `tc-${point.direction}/${point.interface}`;
    case "cgroup":
      return `cgroup-${point.attach}/${point.path}#${point.member}`;
    case "tracepoint":
    case "raw_tracepoint":
      return `${point.hook}/${point.name}#${point.member}`;
    case "kprobe":
    case "kretprobe":
      return `${point.hook}/${point.function}+${point.offset}#${point.member}`;
    case "uprobe":
    case "uretprobe":
      return `${point.hook}/${point.binary}:${point.function}+${point.offset}#${point.member}`;
    case "fentry":
    case "fexit":
      return `${point.hook}/${point.function}#${point.member}`;
  }
}

/** The inverse of renderHookKey; `undefined` for anything else. The member's key holds no `#`. */
export function parseHookKey(key: string): HookPoint | undefined {
  const slash = key.indexOf("/");
  const kind = key.slice(0, slash);
  const rest = key.slice(slash + 1);
  if (slash < 0 || rest === "") return undefined;
  if (kind === "xdp") return { hook: "xdp", interface: rest };
  if (kind === "tc-ingress") return { hook: "tc", interface: rest, direction: "ingress" };
  if (kind === "tc-egress") return { hook: "tc", interface: rest, direction: "egress" };
  const hash = rest.lastIndexOf("#");
  if (hash < 0) return undefined;
  const place = rest.slice(0, hash);
  const member = rest.slice(hash + 1);
  const attach = cgroupAttaches.find((name) => kind === `cgroup-${name}`);
  if (attach !== undefined) return { hook: "cgroup", path: place, attach, member };
  return parseTracingKey(kind, place, member);
}

function parseTracingKey(kind: string, place: string, member: string): HookPoint | undefined {
  const plus = place.lastIndexOf("+");
  const head = place.slice(0, plus);
  const offset = Number(place.slice(plus + 1));
  const hasOffset = plus > 0 && Number.isSafeInteger(offset) && offset >= 0;
  switch (kind) {
    case "tracepoint":
    case "raw_tracepoint":
      return { hook: kind, name: place, member };
    case "kprobe":
    case "kretprobe":
      return hasOffset ? { hook: kind, function: head, offset, member } : undefined;
    case "uprobe":
    case "uretprobe":
      return hasOffset && head.includes(":") ? { hook: kind, ...binaryAndFunction(head), offset, member } : undefined;
    case "fentry":
    case "fexit":
      return { hook: kind, function: place, member };
    default:
      return undefined;
  }
}

function binaryAndFunction(text: string): { binary: string; function: string } {
  const colon = text.lastIndexOf(":");
  return { binary: text.slice(0, colon), function: text.slice(colon + 1) };
}

/** The interface, cgroup, function … that the point is at, as people name it. */
export function placeOf(point: HookPoint): string {
  switch (point.hook) {
    case "xdp":
    case "tc":
      return point.interface;
    case "cgroup":
      return point.path;
    case "tracepoint":
    case "raw_tracepoint":
      return point.name;
    case "uprobe":
    case "uretprobe":
      return point.binary;
    case "kprobe":
    case "kretprobe":
    case "fentry":
    case "fexit":
      return point.function;
  }
}
