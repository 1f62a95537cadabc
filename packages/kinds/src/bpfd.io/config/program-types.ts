import type { BytecodePlace } from "@bpfleet/features";

/** Which field of `attachpoint` a type of program needs. */
export type AttachField = "network" | "singleattach" | "cgroup";

interface TypeFacts {
  readonly needs: AttachField;
  readonly meaning: string;
}

/** XDP, TC and TRACEPOINT are bpfd's own; the others are more of the same. */
export const programTypes = {
  XDP: { needs: "network", meaning: "as early as a packet can be seen" },
  TC: { needs: "network", meaning: "before or behind the network stack" },
  TRACEPOINT: { needs: "singleattach", meaning: "category/name, such as syscalls/sys_enter_openat" },
  RAW_TRACEPOINT: { needs: "singleattach", meaning: "a name, such as sys_enter" },
  KPROBE: { needs: "singleattach", meaning: "a function of the kernel" },
  KRETPROBE: { needs: "singleattach", meaning: "a function of the kernel" },
  UPROBE: { needs: "singleattach", meaning: "a function in `binary`" },
  URETPROBE: { needs: "singleattach", meaning: "a function in `binary`" },
  FENTRY: { needs: "singleattach", meaning: "a function of the kernel" },
  FEXIT: { needs: "singleattach", meaning: "a function of the kernel" },
  CGROUP_SKB: { needs: "cgroup", meaning: "ingress or egress" },
  CGROUP_DEVICE: { needs: "cgroup", meaning: "device" },
  CGROUP_SOCK: { needs: "cgroup", meaning: "when sockets are made, bound and released" },
  CGROUP_SOCK_ADDR: { needs: "cgroup", meaning: "at the addresses of socket calls" },
  CGROUP_SOCKOPT: { needs: "cgroup", meaning: "at the options of sockets" },
  CGROUP_SYSCTL: { needs: "cgroup", meaning: "at reads and writes of sysctls" },
  SOCKOPS: { needs: "cgroup", meaning: "sock_ops" },
} as const satisfies Readonly<Record<string, TypeFacts>>;

export type ProgramTypeName = keyof typeof programTypes;
export const programTypeNames = Object.keys(programTypes) as readonly ProgramTypeName[];

/** Hooks of a cgroup that a type can run on; the first one when none is named. */
export const cgroupHooks: Readonly<Partial<Record<ProgramTypeName, readonly [string, ...string[]]>>> = {
  CGROUP_SKB: ["ingress", "egress"],
  CGROUP_DEVICE: ["device"],
  CGROUP_SOCK: ["sock_create", "sock_release", "post_bind4", "post_bind6"],
  CGROUP_SOCK_ADDR: [
    "connect4",
    "connect6",
    "bind4",
    "bind6",
    "sendmsg4",
    "sendmsg6",
    "recvmsg4",
    "recvmsg6",
    "getpeername4",
    "getpeername6",
    "getsockname4",
    "getsockname6",
  ],
  CGROUP_SOCKOPT: ["setsockopt", "getsockopt"],
  CGROUP_SYSCTL: ["sysctl"],
  SOCKOPS: ["sock_ops"],
};
export const cgroupHookNames = Object.values(cgroupHooks).flat();

export function typesThatNeed(field: AttachField): readonly ProgramTypeName[] {
  return programTypeNames.filter((type) => programTypes[type].needs === field);
}

/** XDP_* codes by name. DISPATCHER_RETURN is what a program of bpfd's dispatcher returned: the default. */
const xdpCodes: Readonly<Record<string, number>> = { ABORTED: 0, DROP: 1, PASS: 2, TX: 3, REDIRECT: 4 };

/** TC_ACT_* codes by name. */
const tcCodes: Readonly<Record<string, number>> = {
  UNSPEC: -1,
  OK: 0,
  RECLASSIFY: 1,
  SHOT: 2,
  PIPE: 3,
  STOLEN: 4,
  QUEUED: 5,
  REPEAT: 6,
  REDIRECT: 7,
  TRAP: 8,
};

const asDefault = "DISPATCHER_RETURN";
export const proceedNames = [...new Set([...Object.keys(xdpCodes), asDefault, ...Object.keys(tcCodes)])];

const hookCodes = {
  xdp: { codes: xdpCodes, usual: [2] },
  tc: { codes: tcCodes, usual: [-1, 3] },
} as const;

/** Names that mean nothing to the hook. */
export function foreignProceedNames(hook: "xdp" | "tc", names: readonly string[]): readonly string[] {
  return names.filter((name) => name !== asDefault && hookCodes[hook].codes[name] === undefined);
}

/**
 * Codes after which the next program runs. For tc bpfd took names of XDP verdicts and ignored them: they count for
 * nothing here too, and a list without any name of its own is the default.
 */
export function proceedCodes(hook: "xdp" | "tc", names: readonly string[]): readonly number[] {
  const { codes, usual } = hookCodes[hook];
  const named = names.flatMap((name) => (name === asDefault ? usual : (codes[name] ?? [])));
  return named.length === 0 ? usual : [...new Set(named)].toSorted((a, b) => a - b);
}

/** Types that run in a function, by the hook of the intent. */
export const probeHooks: Readonly<Partial<Record<ProgramTypeName, BytecodePlace["hook"]>>> = {
  KPROBE: "kprobe",
  KRETPROBE: "kretprobe",
  UPROBE: "uprobe",
  URETPROBE: "uretprobe",
  FENTRY: "fentry",
  FEXIT: "fexit",
};
