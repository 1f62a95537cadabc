import assert from "node:assert/strict";
import type { KubeObject } from "@bpfleet/kinds";
import type { Dice } from "./churned-state.ts";

const namespaces = ["x", "y", "z"];
const labels = ["a", "b", "c"];
/** Those of the rig; nobody knows it of pods that are not declared. */
const prefixes = [
  "192.168.1.0/29",
  "192.168.1.8/29",
  "0.0.0.0/0",
  "fd00:192:168:1::/125",
  "fd00:192:168:1::8/125",
  "::/0",
];

/** Of some pods of a namespace, with what it denies; names only what the rig has. */
export function drawCiliumPolicy(dice: Dice): KubeObject {
  const of = <T>(items: readonly T[]): T => items[dice(items.length)] ?? assert.fail();
  const rule = (side: "from" | "to"): object => {
    const peers = [
      { [`${side}Endpoints`]: [{}] },
      { [`${side}Endpoints`]: [{ matchLabels: { pod: of(labels) } }] },
      { [`${side}Endpoints`]: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": of(namespaces) } }] },
      { [`${side}CIDR`]: [of(prefixes), of(prefixes)] },
      { [`${side}CIDRSet`]: [{ cidr: "192.168.1.0/24", except: ["192.168.1.4/30"] }] },
      { [`${side}Entities`]: [of(["all", "cluster", "world", "world-ipv6"])] },
    ];
    const ports = [{ port: of(["80", "81"]), protocol: of(["TCP", "UDP", "ANY"]) }];
    return { ...of(peers), ...(dice(2) === 0 && { toPorts: [{ ports }] }) };
  };
  const list = (side: "from" | "to", most: number): readonly object[] =>
    Array.from({ length: 1 + dice(most) }, () => rule(side));
  const isOf = dice(3);
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "drawn", namespace: of(namespaces) },
    spec: {
      endpointSelector: dice(3) === 0 ? {} : { matchLabels: { pod: of(labels) } },
      ...(isOf !== 1 && { ingress: list("from", 3), ...(dice(2) === 0 && { ingressDeny: list("from", 2) }) }),
      ...(isOf !== 0 && { egress: list("to", 3), ...(dice(2) === 0 && { egressDeny: list("to", 2) }) }),
    },
  };
}
