/**
 * - `applied`: an object, applied as it stands.
 * - `fragment`: part of an object or of a file, which tests put into its place.
 * - `output`: what a command prints; ours prints it.
 * - `defective`: malformed in the document: the error for its text is clear, and the nearest valid form works.
 */
export type BlockState = "applied" | "fragment" | "output" | "defective";

/** One YAML block of a document. */
export interface DocumentBlock {
  readonly document: string;
  /** Line of the document that it begins in. */
  readonly line: number;
  /** Path from the root of the repository: the block, byte for byte. */
  readonly file: string;
  readonly state: BlockState;
  /** What it is. */
  readonly what: string;
  /** What it does today. */
  readonly today: string;
  /** Files from the root of the repository. */
  readonly tests: readonly string[];
}

const fos1 = "packages/kinds/src/networking.fos1.io";
const cilium = "packages/kinds/src/cilium.io/documents.test.ts";
const all = ["test/documents/blocks.test.ts", "test/documents/blocks.cluster.test.ts"];
const notServed = "Accepted and checked; Ready is False with reason NotServed.";
const policy =
  "Accepted and checked, with a warning for each trap; part of the policy of each node for the pods it selects.";
const hostPolicy = "Accepted and checked, with a warning for each trap, and in force on the nodes it selects.";

type Row = readonly [line: number, state: BlockState, what: string, today: string, ...tests: readonly string[]];

function blocks(document: string, fileOf: (number: number) => string, rows: readonly Row[]): readonly DocumentBlock[] {
  return rows.map(([line, state, what, today, ...tests], index) => {
    const own = state === "applied" ? all : all.slice(0, 1);
    return { document, line, file: fileOf(index + 1), state, what, today, tests: [...tests, ...own] };
  });
}

function copied(document: string): (number: number) => string {
  return (number) => `packages/kinds/src/testdata/documents/${document}-${String(number).padStart(2, "0")}.yaml`;
}

function ofBpfd(document: string): (number: number) => string {
  return (number) => `packages/kinds/src/bpfd.io/testdata/${document}-${number}.yaml`;
}

export const documentBlocks: readonly DocumentBlock[] = [
  ...blocks("fos1-ebpf-crds.md", copied("fos1-ebpf-crds"), [
    [
      72,
      "applied",
      "EBPFProgram xdp-packet-filter",
      "In force: packets of its blacklist and above its rate are dropped.",
      `${fos1}/ebpfprogram/ebpfprogram.test.ts`,
      "test/kernel/demo.kernel.test.ts",
    ],
    [
      121,
      "applied",
      "EBPFMap blacklist-map",
      "In force: the map is there with its entry, and the program of the first block looks it up.",
      `${fos1}/ebpfmap/ebpfmap.test.ts`,
      "apps/ebpfctl/src/commands/map.kernel.test.ts",
    ],
    [147, "applied", "CiliumNetworkPolicy api-server-protection", policy, cilium],
    [
      192,
      "applied",
      "CiliumClusterwideNetworkPolicy secure-core-services",
      `${hostPolicy} Names of DNS have reason NotServed there.`,
      cilium,
    ],
    [
      227,
      "applied",
      "EBPFNetworkPolicy api-server-protection",
      "In force, its limit of a rate too. Whoever applies it is told that the kind is deprecated, and that its ingress rules close nothing.",
      `${fos1}/ebpfnetworkpolicy/ebpfnetworkpolicy.test.ts`,
    ],
    [
      274,
      "applied",
      "EBPFTrafficControl egress-quality-of-service",
      `${notServed} A warning says that nothing waits in its class 20.`,
      `${fos1}/ebpftrafficcontrol/ebpftrafficcontrol.test.ts`,
    ],
    [325, "applied", "EBPFNATPolicy outbound-nat", notServed, `${fos1}/ebpfnatpolicy/ebpfnatpolicy.test.ts`],
    [342, "applied", "EBPFNATPolicy web-server-dnat", notServed, `${fos1}/ebpfnatpolicy/ebpfnatpolicy.test.ts`],
    [
      372,
      "applied",
      "EBPFContainerPolicy database-network-policy",
      "In force: its rules, default actions, accounting, and its limits of bandwidth and of open connections.",
      `${fos1}/ebpfcontainerpolicy/ebpfcontainerpolicy.test.ts`,
      "test/kernel/policy-tiers.kernel.test.ts",
    ],
    [570, "applied", "CiliumNetworkPolicy hardware-accelerated-policy", policy, cilium],
    [603, "applied", "CiliumClusterwideNetworkPolicy global-hardware-acceleration", hostPolicy, cilium],
    [623, "applied", "CiliumClusterwideNetworkPolicy smartnic-optimized-policy", hostPolicy, cilium],
  ]),
  ...blocks("podconfigmap-ebpf.md", copied("podconfigmap-ebpf"), [
    [
      31,
      "applied",
      "PodConfigMapConfig example-ebpf-config",
      "Accepted and checked; its firewall is in force, with its metrics. System calls are not counted: Ready is False with reason NotServed. A warning says that its allowedPorts close nothing.",
      "packages/kinds/src/podconfig.example.com/podconfigmapconfig/podconfigmapconfig.test.ts",
      "test/kernel/policy-tiers.kernel.test.ts",
    ],
    [123, "fragment", "variables of leader election", "The operator's Deployment has them, with these values."],
    [148, "fragment", "capabilities", "The daemon has these among its own; the operator needs none."],
    [
      174,
      "applied",
      "Deployment podconfigmap-controller",
      "Kubernetes takes it. Ours has its names, labels, replicas, resources and ports, but no capabilities: programs are loaded by the daemon.",
    ],
    [
      228,
      "applied",
      "ClusterRole podconfigmap-controller",
      "Kubernetes takes it. Ours has the same name, and fewer rights where fewer do.",
    ],
    [
      249,
      "defective",
      "ServiceMonitor podconfigmap-controller, in version v1",
      "The error names kind and version. In version monitoring.coreos.com/v1 it fits our Service: label, port and path.",
    ],
    [
      275,
      "fragment",
      "alerting rules of Prometheus",
      "Rules of a file of Prometheus. The metrics that they name come with the features that count them.",
    ],
  ]),
  ...blocks("calico-ebpf-dataplane.md", copied("calico-ebpf-dataplane"), [
    [
      25,
      "fragment",
      "settings in a values file",
      `Below spec of FelixConfiguration default: ${notServed} felixFromValues reads the file as it stands.`,
      "packages/kinds/src/crd.projectcalico.org/felixconfiguration/felixconfiguration.test.ts",
    ],
    [
      228,
      "defective",
      "a command above settings",
      "The error says that its second line is no YAML. Without that line the settings fit below FelixConfiguration default.",
      "packages/kinds/src/yaml/parse-manifest.test.ts",
    ],
    [
      244,
      "fragment",
      "sizes of maps in a values file",
      "As the first block; they ask for nothing without bpfEnabled.",
      "packages/kinds/src/crd.projectcalico.org/felixconfiguration/felixconfiguration.test.ts",
    ],
    [
      256,
      "fragment",
      "XDP in a values file",
      `As the first block: ${notServed}`,
      "packages/kinds/src/crd.projectcalico.org/felixconfiguration/felixconfiguration.test.ts",
    ],
  ]),
  ...blocks("bpfd-operator.md", ofBpfd("bpfd-operator"), [
    [
      45,
      "applied",
      "EbpfProgramConfig xdp-pass-all-nodes",
      "In force: the program of the image runs on every node.",
      "packages/kinds/src/bpfd.io/documents.test.ts",
      "test/kernel/bytecode.kernel.test.ts",
    ],
    [
      69,
      "output",
      "EbpfProgram of the config, indented wrongly",
      "Ours is the same, indented rightly.",
      "packages/kinds/src/bpfd.io/documents.test.ts",
      "packages/kinds/src/bpfd.io/program/make-program.test.ts",
    ],
  ]),
  ...blocks("bpfd-on-ocp.md", ofBpfd("bpfd-on-ocp"), [
    [
      236,
      "applied",
      "BpfProgramConfig xdp-pass-all-nodes",
      "In force: the program of the image runs on every node.",
      "packages/kinds/src/bpfd.io/documents.test.ts",
      "test/kernel/bytecode.kernel.test.ts",
    ],
    [
      267,
      "output",
      "BpfProgram of the config, indented wrongly",
      "Ours is the same, indented rightly.",
      "packages/kinds/src/bpfd.io/documents.test.ts",
      "packages/kinds/src/bpfd.io/program/make-program.test.ts",
    ],
  ]),
];
