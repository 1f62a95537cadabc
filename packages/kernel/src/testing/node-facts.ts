import type { InterfaceFacts, KernelFacts, NodeFacts } from "../facts.ts";

const has = { has: true } as const;

/** A kernel that has everything. */
export const wholeKernel: KernelFacts = {
  release: "6.18",
  btf: has,
  tcx: has,
  cgroup2: has,
  ringbuf: has,
  chainInline: has,
  chainStub: has,
};

/** Facts of a node for tests: nothing is on it but what `change` says. */
export function nodeFacts(change: Partial<NodeFacts> = {}): NodeFacts {
  return {
    nodeName: "node",
    cpus: 2,
    objects: {},
    interfaces: [],
    kernel: wholeKernel,
    hashSeed: 42,
    cgroups: {},
    bpffs: [],
    ...change,
  };
}

/** An interface that is up, one end of a veth pair. */
export function interfaceFacts(name: string, change: Partial<InterfaceFacts> = {}): InterfaceFacts {
  return {
    name,
    ifindex: 2,
    isUp: true,
    mtu: 1500,
    linkKind: "veth",
    mac: "02:00:00:00:00:01",
    addresses: [],
    hasDefaultRoute: false,
    ...change,
  };
}
