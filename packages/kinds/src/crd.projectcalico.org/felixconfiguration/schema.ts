import type { Static } from "typebox";
import type { KubeObject } from "../../kind.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { intOrString } from "../../schema/fields.ts";
import { Type } from "../../schema/type.ts";
import { choice, count, duration, expression, flag, prefixes, timeout, word } from "./fields.ts";

const timeoutsSchema = Type.Object(
  {
    creationGracePeriod: timeout("How long a new entry is never removed. Calico's default: 10s."),
    tcpSynSent: timeout("A connection that was not answered. Calico's default: 20s."),
    tcpEstablished: timeout("An open connection without packets. Calico's default: 1h."),
    tcpFinsSeen: timeout("A connection that both sides closed. Calico's default: Auto, 30s."),
    tcpResetSeen: timeout("A connection that was reset. Calico's default: 40s."),
    udpTimeout: timeout("UDP without packets. Calico's default: 60s."),
    icmpTimeout: timeout("ICMP without packets. Calico's default: 5s."),
    genericTimeout: timeout("Other protocols without packets. Calico's default: 10m."),
  },
  { description: "How long tracked connections live." },
);

/** Settings that the documents and Calico's eBPF data plane know, by the part they are about. */
const switches = {
  bpfEnabled: flag("Whether Services and policies are served by eBPF. Calico's default: false."),
  bpfDisableUnprivileged: flag("Whether bpf(2) is shut for users without privileges. Calico's default: true."),
  bpfKubeProxyIptablesCleanupEnabled: flag(
    "Whether the rules that kube-proxy made are removed; false where it runs beside. Calico's default: true.",
  ),
  bpfHostConntrackBypass: flag("Whether the kernel's own connection tracking is passed by. Calico's default: true."),
  bpfPolicyDebugEnabled: flag("Whether policy programs keep what explains them. Calico's default: true."),
  bpfIPFragmentReassemblyEnabled: flag("Whether fragments are matched with their first one. Calico's default: true."),
  bpfKubeProxyEndpointSlicesEnabled: flag("Without effect: EndpointSlices are always read."),
  bpfConnectTimeLoadBalancingEnabled: flag("Older form of bpfConnectTimeLoadBalancing."),
  xdpEnabled: flag("Whether XDP drops what is denied before the network stack. Calico's default: true."),
  genericXDPEnabled: flag("Whether XDP runs where the driver has none. Calico's default: false."),
};

const modes = {
  bpfExternalServiceMode: word(
    ["Tunnel", "DSR"],
    "How packets from outside reach a Service's back end on another node: through a tunnel and back, or answered by that node itself. Calico's default: Tunnel.",
  ),
  bpfConnectTimeLoadBalancing: choice(
    ["TCP", "Enabled", "Disabled"],
    "Which connections of pods to Services are resolved when they begin: TCP, TCP and UDP, or none, so that every packet carries the Service's address. Calico's default: TCP.",
  ),
  bpfHostNetworkedNATWithoutCTLB: choice(
    ["Enabled", "Disabled"],
    "Whether the host's own connections to Services are translated per packet. Calico's default: Enabled.",
  ),
  bpfEnforceRPF: word(
    ["Disabled", "Strict", "Loose"],
    "Whether packets from addresses that are not reached by the interface they came from are dropped. Calico's default: Loose.",
  ),
  bpfRedirectToPeer: choice(
    ["Enabled", "Disabled", "L2Only"],
    "Whether packets go straight into the pod. L2Only is deprecated. Calico's default: Enabled.",
  ),
  bpfAttachType: choice(["Netkit", "TCX", "TC"], "How programs are attached. Calico's default: Netkit."),
  bpfConntrackMode: choice(
    ["Auto", "Userspace", "BPFProgram"],
    "Who removes connections that are over. Calico's default: Auto.",
  ),
  bpfOverlayHostSourceIP: choice(
    ["TunnelAddress", "HostAddress"],
    "Source of what the host itself sends through the overlay.",
  ),
  bpfJITHardening: choice(["Auto", "Strict"], "How the kernel hardens compiled programs. Calico's default: Auto."),
  bpfProfiling: choice(["Disabled", "Enabled"], "Whether programs are timed. Calico's default: Disabled."),
};

const logs = {
  logSeverityScreen: word(
    ["Trace", "Debug", "Info", "Warning", "Error", "Fatal"],
    "What is written to standard output. Calico's default: Info.",
  ),
  bpfLogLevel: word(["Off", "Info", "Debug"], "What programs write to the kernel's trace. Calico's default: Off."),
  bpfConntrackLogLevel: word(["Off", "Debug"], "What the removal of connections writes. Calico's default: Off."),
  bpfLogFilters: Type.Optional(
    Type.Record(Type.String(), Type.String({ maxLength: 4096 }), {
      description: "Interface, or all, weps, heps → filter expression: what is written of packets.",
    }),
  ),
  bpfCTLBLogFilter: choice(["all"], "Whether connect-time balancing writes when bpfLogFilters is set."),
};

const interfaces = {
  bpfDataIfacePattern: expression("The interfaces of the node that programs are attached to."),
  bpfL3IfacePattern: expression("Further interfaces, without link-layer addresses."),
  bpfDisableGROForIfaces: expression("Interfaces on which receive offload is switched off."),
  bpfForceTrackPacketsFromIfaces: Type.Optional(
    Type.Array(Type.String({ maxLength: 16 }), {
      maxItems: 128,
      description:
        "Interfaces whose packets the kernel's own connection tracking sees; + at the end is any rest. Calico's default: docker+.",
    }),
  ),
};

const services = {
  bpfDSROptoutCIDRs: prefixes("Clients that are answered through the tunnel in mode DSR too."),
  bpfExcludeCIDRsFromNAT: prefixes(
    "Addresses of Services that the host itself handles, as of a DNS cache on the node.",
  ),
  bpfExtToServiceConnmark: count("Mark of connections from outside to Services. Calico's default: 0.", 0),
  bpfPSNATPorts: Type.Optional(
    intOrString({
      minimum: 0,
      maximum: 65535,
      pattern: "^[0-9]{1,5}(:[0-9]{1,5})?$",
      patternMeaning: "a port, or a range of them like 20000:29999",
      description: "Ports that are taken when a source port is taken already. Calico's default: 20000:29999.",
    }),
  ),
  bpfKubeProxyMinSyncPeriod: duration("Least time between two updates of Services. Calico's default: 1s."),
  bpfKubeProxyHealthzPort: count(
    "Port that answers as kube-proxy's health check does. Calico's default: 10256.",
    0,
    65535,
  ),
  bpfMaglevMaxEndpointsPerService: count("Most back ends of a Service with consistent hashing. Calico's default: 100."),
  bpfMaglevMaxServices: count("Most Services with consistent hashing. Calico's default: 100."),
};

const sizes = {
  bpfMapSizeNATFrontend: count("Entries of the map of Services. Calico's default: 65536."),
  bpfMapSizeNATBackend: count("Entries of the map of back ends. Calico's default: 262144."),
  bpfMapSizeNATAffinity: count("Entries of the map of session affinity. Calico's default: 65536."),
  bpfMapSizeRoute: count("Entries of the map of routes. Calico's default: 262144."),
  bpfMapSizeConntrack: count("Entries of the map of connections. Calico's default: 512000."),
  bpfMapSizePerCpuConntrack: count("Entries of it for each processor, in place of the former. Calico's default: 0.", 0),
  bpfMapSizeConntrackScaling: word(
    ["Disabled", "DoubleIfFull"],
    "Whether the map of connections grows when it is full. Calico's default: DoubleIfFull.",
  ),
  bpfMapSizeConntrackCleanupQueue: count("Entries of the queue of what is removed. Calico's default: 100000."),
  bpfMapSizeIPSets: count("Entries of the map of addresses in policies. Calico's default: 1048576."),
  bpfMapSizeIfState: count("Entries of the map of interfaces. Calico's default: 1000."),
  bpfExportBufferSizeMB: count("Megabytes of the buffer for events. Calico's default: 1."),
};

const times = {
  bpfConntrackTimeouts: Type.Optional(timeoutsSchema),
  bpfIPFragTimeout: duration("How long fragments wait for their first one."),
  xdpRefreshInterval: duration("How often XDP programs are compared with what they should be. Calico's default: 90s."),
};

export const specSchema = Type.Object(
  { ...switches, ...modes, ...logs, ...interfaces, ...services, ...sizes, ...times },
  {
    description: "Settings of Calico's agent. Those about eBPF are listed; the others are kept as they are.",
    "x-kubernetes-preserve-unknown-fields": true,
  },
);

export const statusSchema = Type.Object({ ...commonStatus }, { description: "What became of it." });

export type FelixSpec = Static<typeof specSchema>;

export interface FelixConfiguration extends KubeObject {
  readonly spec: FelixSpec;
  readonly status?: Static<typeof statusSchema>;
}
