import assert from "node:assert/strict";
import { test } from "node:test";
import { findKind } from "../kinds.ts";
import type { Policy } from "@bpfleet/features";
import { compileWorld, judge, type World, type WorldPacket, type WorldPod } from "@bpfleet/features/testing";
import { findPolicy } from "../policy/read-policy.ts";

/* Verdicts that Cilium's own engine gave, for what is read from the policies here. */

function podOf(namespace: string, app: string, address: string): WorldPod {
  return {
    name: `${namespace}/${app}`,
    labels: { app },
    namespace,
    namespaceLabels: { env: namespace },
    serviceAccount: "default",
    namedPorts: [],
    addresses: [address],
    isOnThisNode: true,
  };
}

const pods: World["pods"] = [
  podOf("x", "a", "192.168.0.1"),
  podOf("x", "b", "192.168.0.2"),
  podOf("y", "a", "192.168.0.3"),
  podOf("y", "b", "192.168.0.4"),
];
const nodes: World["nodes"] = [
  { name: "here", labels: {}, addresses: ["172.16.0.1"], isThisNode: true },
  { name: "there", labels: {}, addresses: ["172.16.0.2"], isThisNode: false },
];
const places = [...pods, ...nodes].flatMap(({ addresses }) => addresses).concat("203.0.113.9", "10.1.2.3", "10.96.0.5");
const hostPlace = 4;

type Probe = Pick<WorldPacket, "protocol" | "port">;
const probes: Readonly<Record<string, Probe>> = {
  "tcp/80": { protocol: "TCP", port: 80 },
  "tcp/8085": { protocol: "TCP", port: 8085 },
  "udp/53": { protocol: "UDP", port: 53 },
  "sctp/80": { protocol: "SCTP", port: 80 },
  "icmp/8": { protocol: "ICMP", port: 8 },
};

function verdicts(
  policies: readonly Policy[],
  direction: "ingress" | "egress",
  probe: Probe,
  localHost: World["localHost"] = "never",
): string {
  const world = { pods, nodes, localHost };
  const compiled = compileWorld(policies, world);
  return places
    .map((peer) => {
      const packet = { pod: "x/a", direction, peer, ...probe };
      const { verdict } = judge(policies, world, packet);
      assert.equal(compiled.judge(packet).verdict, verdict === "allow" ? "pass" : "drop", JSON.stringify(packet));
      return verdict === "allow" ? "." : "X";
    })
    .join("");
}

type Spec = Readonly<Record<string, unknown>>;
const onA = { endpointSelector: { matchLabels: { app: "a" } } };

function policyOf(spec: Spec, kind = "CiliumNetworkPolicy"): Policy {
  const metadata = kind === "CiliumNetworkPolicy" ? { name: "p", namespace: "x" } : { name: "p" };
  const result = findKind("cilium.io/v2", kind)?.parse({
    apiVersion: "cilium.io/v2",
    kind,
    metadata,
    spec: { ...onA, ...spec },
  });
  assert.ok(result?.ok, JSON.stringify(result?.issues));
  return findPolicy(result.value) ?? assert.fail();
}

const anybody = { fromEndpoints: [{}] };
const appB = { fromEndpoints: [{ matchLabels: { app: "b" } }] };
const port = (number: string, protocol?: string): Spec => ({
  toPorts: [{ ports: [{ port: number, ...(protocol === undefined ? {} : { protocol }) }] }],
});
const all = ".........";
const none = "XXXXXXXXX";

/** Row, policies, and the verdict of each probe; `other` is that of probes without one. */
const rows: readonly (readonly [string, readonly Policy[], Readonly<Record<string, string>>])[] = [
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

const egressRows: typeof rows = [
  ["R1 leaves egress", [policyOf({ ingress: [{}] })], { other: all }],
  ["R21", [policyOf({ egress: [port("80", "TCP")], egressDeny: [{ toEntities: ["all"] }] })], { other: none }],
  ["R29", [policyOf({ egress: [{ toFQDNs: [{ matchName: "example.org" }] }] })], { other: none }],
  [
    "R31",
    [policyOf({ egress: [{ toCIDR: ["10.0.0.0/8"], ...port("80", "TCP") }] })],
    { "tcp/80": "XXXXXXX..", other: none },
  ],
];

test("findPolicy reads policies such that every row of the truth table comes out", () => {
  for (const [side, table] of [
    ["ingress", rows],
    ["egress", egressRows],
  ] as const) {
    for (const [row, policies, expected] of table) {
      for (const [name, probe] of Object.entries(probes)) {
        const never = expected[name] ?? expected["other"] ?? "";
        // The column of the host was taken with `never`; else the local host always reaches its pods.
        const auto = side === "ingress" ? `${never.slice(0, hostPlace)}.${never.slice(hostPlace + 1)}` : never;
        assert.equal(verdicts(policies, side, probe), never, `${row} ${name}`);
        assert.equal(verdicts(policies, side, probe, "auto"), auto, `${row} ${name}, auto`);
      }
    }
  }
});

test("CiliumNetworkPolicy refuses what the truth table calls invalid, and combines peers to their union", () => {
  const issues = (spec: Spec): readonly string[] => {
    const kind = findKind("cilium.io/v2", "CiliumNetworkPolicy");
    const object = { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "p" }, spec };
    return kind?.parse(object).issues.map(({ severity, message }) => `${severity} ${message}`) ?? [];
  };
  assert.deepEqual(issues({ nodeSelector: {}, ingress: [{}] }), [
    "error spec.nodeSelector: is for CiliumClusterwideNetworkPolicy only",
  ]);
  assert.deepEqual(issues({ ...onA, ingress: [] }), [
    "error spec: must have at least one rule in ingress, ingressDeny, egress or egressDeny",
  ]);
  // R26: Cilium refuses it. The documents combine peers, and mean any of them.
  const both = { egress: [{ toEndpoints: [{}], toCIDR: ["10.0.0.0/8"] }] };
  assert.match(issues({ ...onA, ...both }).join(), /^warning spec\.egress\[0\]\.toCIDR: stands beside toEndpoints/);
  assert.equal(verdicts([policyOf(both)], "egress", { protocol: "TCP", port: 1 }), "..XXXXX..");
});
