/** Verdicts that Cilium's own engine gave, on what x/a receives and sends; `.` is allowed. The local host has no right of its own. */
import type { KubeObject } from "../kind.ts";

export const truthPeers = [
  "x/a",
  "x/b",
  "y/a",
  "y/b",
  "host",
  "remote-node",
  "world",
  "10.1.2.3",
  "10.96.0.5",
] as const;

export const truthProbes = {
  "tcp/80": { protocol: "TCP", port: 80 },
  "tcp/8085": { protocol: "TCP", port: 8085 },
  "udp/53": { protocol: "UDP", port: 53 },
  "sctp/80": { protocol: "SCTP", port: 80 },
  "icmp/8": { protocol: "ICMP", port: 8 },
} as const;

/** Of a probe, by the places of `truthPeers`. */
export function truthOf([, , verdicts]: TruthRow, probe: keyof typeof truthProbes): string {
  return verdicts[probe] ?? verdicts["other"] ?? "";
}

export type Spec = Readonly<Record<string, unknown>>;
/** Selects x/a. */
export const onA = { endpointSelector: { matchLabels: { app: "a" } } };

/** A policy about x/a. */
export function policyOf(spec: Spec, kind = "CiliumNetworkPolicy"): KubeObject {
  const metadata = kind === "CiliumNetworkPolicy" ? { name: "p", namespace: "x" } : { name: "p" };
  return { apiVersion: "cilium.io/v2", kind, metadata, spec: { ...onA, ...spec } };
}

const anybody = { fromEndpoints: [{}] };
const appB = { fromEndpoints: [{ matchLabels: { app: "b" } }] };
const port = (number: string, protocol?: string): Spec => ({
  toPorts: [{ ports: [{ port: number, ...(protocol === undefined ? {} : { protocol }) }] }],
});
const all = ".........";
const none = "XXXXXXXXX";

/** Row, policies, and the verdict of each probe by peer; `other` is that of probes without one. */
export type TruthRow = readonly [
  row: string,
  policies: readonly KubeObject[],
  verdicts: Readonly<Record<string, string>>,
];

export const ingressRows: readonly TruthRow[] = [
  ["R1", [policyOf({ ingress: [{}] })], { other: none }],
  ["R3", [policyOf({ ingress: [{ fromEndpoints: [] }] })], { other: none }],
  ["R4", [policyOf({ ingress: [{ fromEndpoints: [], ...port("80", "TCP") }] })], { other: none }],
  ["R5", [policyOf({ ingress: [port("80", "TCP")] })], { "tcp/80": all, other: none }],
  ["R6", [policyOf({ ingress: [anybody] })], { other: "..XXXXXXX" }],
  ["R7", [policyOf({ ingress: [anybody] }, "CiliumClusterwideNetworkPolicy")], { other: "....XXXXX" }],
  [
    "R8",
    [policyOf({ ingress: [{ fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "y" } }] }] })],
    { other: "XX..XXXXX" },
  ],
  [
    "R9",
    [
      policyOf({
        ingress: [{ fromEndpoints: [{ matchLabels: { "io.cilium.k8s.namespace.labels.env": "y", app: "b" } }] }],
      }),
    ],
    { other: "XXX.XXXXX" },
  ],
  ["R10", [policyOf({ ingress: [{ fromEntities: ["world"] }] })], { other: "XXXXXX..." }],
  ["R11", [policyOf({ ingress: [{ fromCIDR: ["0.0.0.0/0"] }] })], { other: "XXXXXX..." }],
  [
    "R12",
    [policyOf({ ingress: [{ fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.96.0.0/12"] }] }] })],
    { other: "XXXXXXX.X" },
  ],
  ["R13", [policyOf({ ingress: [anybody], ingressDeny: [port("80", "TCP")] })], { "tcp/80": none, other: "..XXXXXXX" }],
  ["R14", [policyOf({ ingressDeny: [appB] })], { other: none }],
  ["R15", [policyOf({ ingressDeny: [appB], enableDefaultDeny: { ingress: false } })], { other: ".X......." }],
  [
    "R16",
    [policyOf({ ingress: [{ toPorts: [{ ports: [{ port: "8080", endPort: 8090, protocol: "TCP" }] }] }] })],
    { "tcp/8085": all, other: none },
  ],
  ["R17", [policyOf({ ingress: [{ icmps: [{ fields: [{ type: 8 }] }] }] })], { "icmp/8": all, other: none }],
  ["R18", [policyOf({ ingress: [port("0", "ANY")] })], { "icmp/8": none, other: all }],
  ["R22", [policyOf({ ingress: [port("80")] })], { "tcp/80": all, "sctp/80": all, other: none }],
  ["R19", [policyOf({ ingress: [{ fromEntities: ["all"] }] })], { other: all }],
  ["R20", [policyOf({ ingress: [{ fromEntities: ["cluster"] }] })], { other: "......XXX" }],
  ["R23", [policyOf({ ingress: [{ ...anybody, toPorts: [] }] })], { other: "..XXXXXXX" }],
  ["R27", [policyOf({ ingress: [{ ...anybody, toPorts: [{ ports: [] }] }] })], { other: none }],
  [
    "R32",
    [policyOf({ ingress: [port("80", "TCP")] }), policyOf({ ingress: [appB] })],
    { "tcp/80": all, other: "X.XXXXXXX" },
  ],
  ["R33", [policyOf({ ingress: [appB], enableDefaultDeny: { ingress: false } })], { other: all }],
  [
    "R34",
    [
      policyOf({ ingress: [appB], enableDefaultDeny: { ingress: false } }),
      policyOf({ ingress: [{ fromEntities: ["world"] }] }),
    ],
    { other: "X.XXXX..." },
  ],
  [
    "R35",
    [policyOf({ ingress: [{ fromEntities: ["world"] }], ingressDeny: [{ fromCIDR: ["10.96.0.0/12"] }] })],
    { other: "XXXXXX..X" },
  ],
  [
    "R36",
    [policyOf({ ingress: [{ fromCIDR: ["10.1.2.3/32"] }], ingressDeny: [{ fromEntities: ["world"] }] })],
    { other: none },
  ],
  ["R37", [policyOf({ ingress: [{ fromEntities: ["host"] }] })], { other: "XXXX.XXXX" }],
  [
    "R38",
    [
      policyOf({
        ingress: [{ fromEndpoints: [{ matchExpressions: [{ key: "app", operator: "NotIn", values: ["b"] }] }] }],
      }),
    ],
    { other: ".XXXXXXXX" },
  ],
  [
    "R39",
    [policyOf({ endpointSelector: {}, ingress: [{ fromEntities: ["cluster"] }] }, "CiliumClusterwideNetworkPolicy")],
    { other: "......XXX" },
  ],
  [
    "R28",
    [
      policyOf({
        endpointSelector: { matchLabels: { app: "a", "k8s:io.kubernetes.pod.namespace": "y" } },
        ingress: [{}],
      }),
    ],
    { other: none },
  ],
];

export const egressRows: readonly TruthRow[] = [
  ["R1 leaves egress", [policyOf({ ingress: [{}] })], { other: all }],
  ["R21", [policyOf({ egress: [port("80", "TCP")], egressDeny: [{ toEntities: ["all"] }] })], { other: none }],
  ["R29", [policyOf({ egress: [{ toFQDNs: [{ matchName: "example.org" }] }] })], { other: none }],
  [
    "R31",
    [policyOf({ egress: [{ toCIDR: ["10.0.0.0/8"], ...port("80", "TCP") }] })],
    { "tcp/80": "XXXXXXX..", other: none },
  ],
];

/** A policy about nodes. */
function nodePolicy(spec: Spec): KubeObject {
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumClusterwideNetworkPolicy",
    metadata: { name: "p" },
    spec: { nodeSelector: {}, ...spec },
  };
}

/**
 * The same rules about what the node itself receives, and sends. They have no namespace, and of what is named `host` there
 * is nothing: what the node sends to itself passes no interface. Ports that nothing closes are among those of `egress`.
 */
export const hostRows: Readonly<Record<"ingress" | "egress", readonly TruthRow[]>> = {
  ingress: [
    ["R1", [nodePolicy({ ingress: [{}] })], { other: none }],
    ["R3", [nodePolicy({ ingress: [{ fromEndpoints: [] }] })], { other: none }],
    ["R5", [nodePolicy({ ingress: [port("80", "TCP")] })], { "tcp/80": all, other: none }],
    ["R7", [nodePolicy({ ingress: [anybody] })], { other: "....XXXXX" }],
    [
      "R9",
      [
        nodePolicy({
          ingress: [{ fromEndpoints: [{ matchLabels: { "io.cilium.k8s.namespace.labels.env": "y", app: "b" } }] }],
        }),
      ],
      { other: "XXX.XXXXX" },
    ],
    ["R10", [nodePolicy({ ingress: [{ fromEntities: ["world"] }] })], { other: "XXXXXX..." }],
    [
      "R12",
      [nodePolicy({ ingress: [{ fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.96.0.0/12"] }] }] })],
      { other: "XXXXXXX.X" },
    ],
    [
      "R13",
      [nodePolicy({ ingress: [anybody], ingressDeny: [port("80", "TCP")] })],
      { "tcp/80": none, other: "....XXXXX" },
    ],
    ["R14", [nodePolicy({ ingressDeny: [appB] })], { other: none }],
    ["R15", [nodePolicy({ ingressDeny: [appB], enableDefaultDeny: { ingress: false } })], { other: ".X.X....." }],
    ["R17", [nodePolicy({ ingress: [{ icmps: [{ fields: [{ type: 8 }] }] }] })], { "icmp/8": all, other: none }],
    ["R20", [nodePolicy({ ingress: [{ fromEntities: ["cluster"] }] })], { other: "......XXX" }],
    ["remote-node", [nodePolicy({ ingress: [{ fromEntities: ["remote-node"] }] })], { other: "XXXXX.XXX" }],
    [
      "R32",
      [nodePolicy({ ingress: [port("80", "TCP")] }), nodePolicy({ ingress: [appB] })],
      { "tcp/80": all, other: "X.X.XXXXX" },
    ],
    [
      "R36",
      [nodePolicy({ ingress: [{ fromCIDR: ["10.1.2.3/32"] }], ingressDeny: [{ fromEntities: ["world"] }] })],
      { other: none },
    ],
    ["another node", [nodePolicy({ nodeSelector: { matchLabels: { role: "other" } }, ingress: [{}] })], { other: all }],
    ["egress leaves ingress", [nodePolicy({ egress: [{}] })], { other: all }],
  ],
  egress: [
    ["R1", [nodePolicy({ egress: [{}] })], { "udp/53": all, other: none }],
    [
      "R31",
      [nodePolicy({ egress: [{ toCIDR: ["10.0.0.0/8"], ...port("80", "TCP") }] })],
      { "udp/53": all, "tcp/80": "XXXXXXX..", other: none },
    ],
    ["R7", [nodePolicy({ egress: [{ toEndpoints: [{}] }] })], { "udp/53": all, other: "....XXXXX" }],
    ["remote-node", [nodePolicy({ egress: [{ toEntities: ["remote-node"] }] })], { "udp/53": all, other: "XXXXX.XXX" }],
    [
      "R13",
      [nodePolicy({ egress: [{ toEntities: ["all"] }], egressDeny: [port("80", "TCP")] })],
      { "tcp/80": none, other: all },
    ],
    ["R21", [nodePolicy({ egressDeny: [{ toEntities: ["all"] }] })], { "udp/53": all, other: none }],
  ],
};
