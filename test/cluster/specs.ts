/** A spec, then the fields that are wrong with it; none when it is fine. */
export type SpecCase = readonly [spec: Readonly<Record<string, unknown>>, ...breaks: readonly string[]];

const onEth0 = { interface: "eth0" };

export const programSpecs: readonly SpecCase[] = [
  [{ type: "xdp", ...onEth0 }],
  [{ type: "xdp" }, "spec.interface"],
  [{ type: "tc-ingress" }, "spec.interface"],
  [{ type: "tc-egress" }, "spec.interface"],
  [{ type: "cgroup" }],
  [{ type: "sockops" }],
  [{}, "spec.type"],
  [{ type: "xpd", ...onEth0 }, "spec.type"],
  [{ type: "xdp", interface: "eth 0" }, "spec.interface"],
  [{ type: "xdp", interface: "0123456789abcdef" }, "spec.interface"],
  [{ type: "xdp", ...onEth0, priority: -1 }, "spec.priority"],
  [
    { type: "xdp", ...onEth0, settings: { rateLimiting: { packetsPerSecond: 0 } } },
    "spec.settings.rateLimiting.packetsPerSecond",
  ],
  [{ type: "xdp", ...onEth0, settings: { blacklist: { ips: ["10.0.0.0/8", "2001:db8::/32", "1.2.3.4", "::1"] } } }],
  [
    { type: "xdp", ...onEth0, settings: { blacklist: { ips: ["10.0.0.0/8", "10.0.0"] } } },
    "spec.settings.blacklist.ips[1]",
  ],
  [{ type: "xdp", ...onEth0, settings: { blacklist: { ips: ["::ffff:1.2.3.4"] } } }, "spec.settings.blacklist.ips[0]"],
  [
    { type: "xdp", ...onEth0, settings: { trafficControl: { enableMarking: true } } },
    "spec.settings.trafficControl.enableMarking",
  ],
  [{ type: "cgroup", settings: { trafficControl: { enableQoS: true } } }, "spec.settings.trafficControl.enableQoS"],
  [
    { type: "xdp", ...onEth0, settings: { trafficControl: { enableDSCP: true } } },
    "spec.settings.trafficControl.enableDSCP",
  ],
  [{ type: "tc-egress", ...onEth0, settings: { trafficControl: { enableDSCP: true, defaultMark: 63 } } }],
  [
    { type: "tc-egress", ...onEth0, settings: { trafficControl: { enableDSCP: true, defaultMark: 64 } } },
    "spec.settings.trafficControl.defaultMark",
  ],
  [{ type: "tc-egress", ...onEth0, settings: { trafficControl: { enableMarking: true, defaultMark: 4294967295 } } }],
  [{ type: "sockops", settings: { rateLimiting: { enabled: true } } }, "spec.settings.rateLimiting.enabled"],
  [{ type: "sockops", settings: { blacklist: { enabled: true } } }, "spec.settings.blacklist.enabled"],
  [{ type: "xdp", ...onEth0, settings: { socketOps: { enableMonitoring: true } } }],
  [
    { type: "xdp", ...onEth0, settings: { socketOps: { enableTracing: true } } },
    "spec.settings.socketOps.enableTracing",
  ],
  [
    { type: "cgroup", settings: { socketOps: { enableRedirection: true } } },
    "spec.settings.socketOps.enableRedirection",
  ],
  [
    { type: "sockops", settings: { containerPolicy: { enableAccounting: true } } },
    "spec.settings.containerPolicy.enableAccounting",
  ],
  [
    { type: "xdp", ...onEth0, settings: { containerPolicy: { enableEgressControl: true } } },
    "spec.settings.containerPolicy.enableEgressControl",
  ],
  [
    { type: "tc-ingress", ...onEth0, settings: { containerPolicy: { enableDeviceControl: true } } },
    "spec.settings.containerPolicy.enableDeviceControl",
  ],
  [{ type: "cgroup", settings: { containerPolicy: { enableDeviceControl: true } } }],
  [{ type: "xdp", ...onEth0, maps: ["a", "b"] }],
  [{ type: "xdp", ...onEth0, maps: ["a", "a"] }, "spec.maps[1]"],
];

const trie = { type: "lpm_trie", maxEntries: 2, keySize: 8, valueSize: 4 };

export const mapSpecs: readonly SpecCase[] = [
  [trie],
  [{ ...trie, type: "lpm_tree" }, "spec.type"],
  [{ type: "lpm_trie" }, "spec.maxEntries"],
  [{ ...trie, maxEntries: 0 }, "spec.maxEntries"],
  [{ ...trie, keySize: 4 }, "spec.keySize"],
  [{ ...trie, keySize: 260 }],
  [{ ...trie, keySize: 261 }, "spec.keySize"],
  [{ ...trie, valueSize: 0 }, "spec.valueSize"],
  [{ type: "hash", maxEntries: 1 }, "spec.keySize", "spec.valueSize"],
  [{ type: "array", maxEntries: 1, valueSize: 1 }],
  [{ type: "array", maxEntries: 1, keySize: 8, valueSize: 1 }, "spec.keySize"],
  [{ type: "percpu_array", maxEntries: 1, keySize: 4, valueSize: 1 }],
  [{ type: "stack", maxEntries: 1, valueSize: 1 }],
  [{ type: "queue", maxEntries: 1, keySize: 4, valueSize: 1 }, "spec.keySize"],
  [{ type: "ringbuf", maxEntries: 5000 }],
  [{ type: "ringbuf", maxEntries: 4096, keySize: 4, valueSize: 4 }, "spec.keySize", "spec.valueSize"],
  [{ type: "perf_event_array", maxEntries: 1 }],
  [{ type: "perf_event_array", maxEntries: 1, keySize: 4, valueSize: 8 }, "spec.valueSize"],
  [{ type: "perf_event_array", maxEntries: 1, keySize: 8, valueSize: 4 }, "spec.keySize"],
  [
    {
      ...trie,
      initData: [
        { key: "0x0a0a0a00/24", value: "0x00000001" },
        { key: "10.0.0.0/8", value: 1 },
      ],
    },
  ],
  [
    {
      type: "hash",
      maxEntries: 1,
      keySize: 4,
      valueSize: 4,
      initData: [
        { key: 1, value: 1 },
        { key: 2, value: 1 },
      ],
    },
    "spec.initData",
  ],
  [{ type: "ringbuf", maxEntries: 4096, initData: [{ key: 1, value: 1 }] }, "spec.initData"],
  [{ ...trie, initData: [{ key: 1.5, value: true }] }, "spec.initData[0].key", "spec.initData[0].value"],
  [{ ...trie, initData: [{ key: "10.0.0.0/8" }] }, "spec.initData[0].value"],
  [{ ...trie, pinPath: "/sys/fs/bpf/x" }],
  [{ ...trie, pinPath: "x/y" }, "spec.pinPath"],
  [{ ...trie, pinPath: "/a/../b" }, "spec.pinPath"],
  [{ ...trie, flags: 4294967296 }, "spec.flags"],
  [{ ...trie, accessedBy: ["a", "a"] }, "spec.accessedBy[1]"],
];

const image = "quay.io/bpfd-bytecode/xdp_pass:latest";
const onAll = { name: "pass", type: "XDP", nodeselector: {} };
const shared = { networkmultiattach: { interface: "eth0", priority: 0 } };
const later = { ...onAll, bytecode: `image://${image}` };
const traced = { name: "hello", type: "TRACEPOINT", nodeselector: {}, bytecode: "file:///x.o" };

function network(fields: object): Readonly<Record<string, unknown>> {
  return { ...later, attachpoint: { networkmultiattach: { interface: "eth0", priority: 0, ...fields } } };
}

function single(type: string, singleattach: object): Readonly<Record<string, unknown>> {
  return { ...traced, type, attachpoint: { singleattach } };
}

function grouped(type: string, fields: object): Readonly<Record<string, unknown>> {
  return { ...traced, type, attachpoint: { cgroup: { namespace: "prod", ...fields } } };
}

export const configSpecs: readonly SpecCase[] = [
  [{ ...onAll, priority: 0, attachpoint: onEth0, bytecode: { imageurl: image } }],
  [{ ...onAll, priority: 0, attachpoint: onEth0, bytecode: { path: "/x.o" } }],
  [{ ...onAll, attachpoint: shared, bytecode: `image://${image}` }],
  [
    {
      ...onAll,
      attachpoint: shared,
      bytecode: { image: { url: image, imagepullpolicy: "Always", imagepullsecret: "x" } },
    },
  ],
  [{ ...onAll, attachpoint: shared }, "spec.bytecode"],
  [{ ...onAll, attachpoint: onEth0, bytecode: { imageurl: image } }, "spec.priority"],
  [{ ...onAll, priority: 1001, attachpoint: onEth0, bytecode: { imageurl: image } }, "spec.priority"],
  [{ ...later, attachpoint: {} }, "spec.attachpoint"],
  [{ ...later, priority: 0, attachpoint: { ...onEth0, ...shared } }, "spec.attachpoint"],
  [{ ...later, attachpoint: { singleattach: { name: "a/b" } } }, "spec.attachpoint"],
  [{ ...later, type: "xdp", attachpoint: shared }, "spec.type"],
  [{ ...later, attachpoint: { networkmultiattach: { priority: 0 } } }, "spec.attachpoint.networkmultiattach"],
  [network({ interfaceselector: { interface: "eth0" } }), "spec.attachpoint.networkmultiattach"],
  [
    {
      ...later,
      attachpoint: { networkmultiattach: { priority: 0, interfaceselector: { primarynodeinterface: true } } },
    },
  ],
  [
    {
      ...later,
      attachpoint: { networkmultiattach: { priority: 0, interfaceselector: { primarynodeinterface: false } } },
    },
    "spec.attachpoint.networkmultiattach.interfaceselector.primarynodeinterface",
  ],
  [
    { ...later, attachpoint: { networkmultiattach: { priority: 0, interfaceselector: {} } } },
    "spec.attachpoint.networkmultiattach.interfaceselector",
  ],
  [network({ direction: "BOTH" }), "spec.attachpoint.networkmultiattach.direction"],
  [network({ proceedon: ["PASS", "DISPATCHER_RETURN"] })],
  [network({ proceedon: ["PASS", "FAIL"] }), "spec.attachpoint.networkmultiattach.proceedon[1]"],
  [network({ priority: -1 }), "spec.attachpoint.networkmultiattach.priority"],
  [single("TRACEPOINT", { name: "syscalls/sys_enter_openat" })],
  [single("TRACEPOINT", { name: "openat" }), "spec.attachpoint.singleattach.name"],
  [single("RAW_TRACEPOINT", { name: "sys_enter" })],
  [single("KPROBE", { name: "do_exit", offset: 4 })],
  [single("KPROBE", { name: "do_exit", binary: "/x" }), "spec.attachpoint.singleattach.binary"],
  [single("UPROBE", { name: "main" }), "spec.attachpoint.singleattach.binary"],
  [single("UPROBE", { name: "main", binary: "/bin/x", offset: 1 })],
  [single("FENTRY", { name: "f", offset: 1 }), "spec.attachpoint.singleattach.offset"],
  [{ ...traced, attachpoint: onEth0 }, "spec.attachpoint", "spec.priority"],
  [grouped("SOCKOPS", {})],
  [grouped("CGROUP_SKB", { hook: "egress", podselector: { matchLabels: { app: "web" } } })],
  [grouped("CGROUP_SKB", { hook: "connect4" }), "spec.attachpoint.cgroup.hook"],
  [grouped("CGROUP_SOCK_ADDR", { hook: "connect6" })],
  [grouped("CGROUP_SOCK_ADDR", { hook: "egress" }), "spec.attachpoint.cgroup.hook"],
  [grouped("CGROUP_SOCK", { hook: "egress" }), "spec.attachpoint.cgroup.hook"],
  [grouped("CGROUP_SOCKOPT", { hook: "egress" }), "spec.attachpoint.cgroup.hook"],
  [grouped("CGROUP_SYSCTL", { hook: "egress" }), "spec.attachpoint.cgroup.hook"],
  [grouped("CGROUP_DEVICE", { hook: "egress" }), "spec.attachpoint.cgroup.hook"],
  [grouped("SOCKOPS", { hook: "egress" }), "spec.attachpoint.cgroup.hook"],
  [single("SOCKOPS", { name: "f" }), "spec.attachpoint"],
  [
    grouped("SOCKOPS", { podselector: { matchExpressions: [{ key: "x", operator: "In" }] } }),
    "spec.attachpoint.cgroup.podselector.matchExpressions[0].values",
  ],
  [
    {
      ...later,
      attachpoint: shared,
      nodeselector: { matchLabels: { a: "b" }, matchExpressions: [{ key: "x", operator: "In", values: ["1"] }] },
    },
  ],
  [
    { ...later, attachpoint: shared, nodeselector: { matchExpressions: [{ key: "x", operator: "In" }] } },
    "spec.nodeselector.matchExpressions[0].values",
  ],
  [
    {
      ...later,
      attachpoint: shared,
      nodeselector: { matchExpressions: [{ key: "x", operator: "Exists", values: ["1"] }] },
    },
    "spec.nodeselector.matchExpressions[0].values",
  ],
  [{ ...later, attachpoint: shared, globals: { a: 1, b: "x", c: [1, true] }, sharedmaps: { stats: "other" } }],
  [{ ...later, attachpoint: shared, sharedmaps: { stats: "" } }, "spec.sharedmaps.stats"],
];
