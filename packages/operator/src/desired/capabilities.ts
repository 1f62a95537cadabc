/**
 * What the daemon may do beyond reading its files, each with what breaks without it. Everything else is dropped;
 * agent, operator and webhook have none.
 */
export const daemonCapabilities = {
  DAC_READ_SEARCH: "tracefs is closed to all but root, and the numbers of tracepoints stand there",
  BPF: "bpf(2): maps, programs, BTF. SYS_ADMIN stands in for it; what needs no more than this is done with this",
  NET_ADMIN: "interfaces of pods are found, and filters of tc attached where the kernel has no TCX, with it",
  SYS_ADMIN:
    "programs, maps and links are found by their numbers only with it: adoption after a restart, and the inventory of what others loaded. It holds what PERFMON would give: tracepoints, and pointers compared",
} as const;

/**
 * Added where `bpfleet.raise-memlock` asks for it: Linux before 5.11 counts maps against RLIMIT_MEMLOCK, which is
 * raised with it. Not always: machines that withhold it from their root start no container that is to have it.
 */
export const memlockCapability = "SYS_RESOURCE";
