const condition = {
  type: "Ready",
  status: "False",
  reason: "X",
  message: "m",
  lastTransitionTime: "2026-01-01T00:00:00Z",
};

const seen = { ...condition, observedGeneration: 1 };
const common = {
  nodes: { ready: 1, total: 2 },
  observedGeneration: 1,
  conditions: [seen],
  lastUpdated: "2026-01-01T00:00:00Z",
};

const owner = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "p" };
const counts = { programs: 1, maps: 1, links: 1 };

/** A status of each kind with every field that it can have. */
const whole: Readonly<Record<string, object>> = {
  EBPFProgram: {
    ...common,
    state: "Failed",
    reason: "r",
    attachedTo: "eth0",
    mode: "native, inline",
    node: "n",
    metrics: {
      packetsPassed: 9007199254740991,
      bytesPassed: 0,
      packetsDropped: 3,
      bytesDropped: 1,
      reasons: [{ reason: "blacklist", packets: 3, bytes: 1 }],
      rules: [{ rule: "10.0.0.0/8", field: "f", packets: 3, bytes: 1 }],
      gauges: { flows: 4 },
      pods: [{ pod: "web", sent: { packets: 1, bytes: 2 }, gauges: { opened: 1 } }],
    },
  },
  EBPFMap: { ...common, state: "Created", pinPath: "/sys/fs/bpf/x", entryCount: 3, memoryUsage: 4096, node: "n" },
  EBPFTrafficControl: {
    ...common,
    metrics: { packets: 1, bytes: 2, drops: 3, overlimits: 4, queueLength: 5, backlog: 6 },
  },
  EBPFNATPolicy: { ...common, activeConnections: 1, metrics: { packets: 1, bytes: 2, translations: 3 } },
  EBPFContainerPolicy: {
    ...common,
    appliedTo: [{ podName: "p", namespace: "default", cgroupId: 1 }],
    metrics: { bytesIn: 1, bytesOut: 2, connections: 3, blocked: 4 },
  },
  EBPFNetworkPolicy: { ...common, metrics: { matches: 1, drops: 2, allows: 3, packets: 4, bytes: 5 } },
  PodConfigMapConfig: common,
  FelixConfiguration: common,
  NodeState: {
    observedAt: "2026-01-01T00:00:00Z",
    versions: { agent: "1", daemon: "1", kernel: "6.1", arch: "x64", libbpf: "1.7" },
    isPaused: false,
    objects: { total: 1, inForce: 1, waiting: 0, failed: 0, pending: 0, notSelected: 0, notServed: 0 },
    results: [
      {
        ...owner,
        uid: "u",
        observedGeneration: 1,
        state: "InForce",
        conditions: [{ type: "Ready", status: "True", reason: "Ready", message: "m" }],
        numbers: { "/metrics/packetsPassed": 1 },
      },
    ],
    omittedResults: 0,
    inventory: {
      total: counts,
      omitted: counts,
      programs: [{ id: 1, type: "xdp", name: "p", isOurs: true, owner, hook: "xdp/eth0", position: 0, runCount: 1 }],
      maps: [{ id: 1, type: "hash", name: "m", isOurs: false, keySize: 4, valueSize: 4, maxEntries: 1 }],
      links: [{ id: 1, type: "xdp", programId: 1, target: "eth0", isOurs: true, owner }],
    },
    conditions: [seen],
  },
};

/** What is written of an object of a kind: everything, or the conditions that every kind has. */
export function statusOf(kind: string): object {
  return whole[kind] ?? { conditions: [{ ...condition, type: "NotYetLoaded" }, condition] };
}

/** What an agent applies that knows less: the conditions alone. */
export const partOfStatus = { conditions: [condition] };
