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
