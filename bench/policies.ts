import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Origin } from "@bpfleet/base";
import type { AddressesIntent, PolicyIntent, PolicyRule, WorkloadIntent } from "@bpfleet/features";
import type { NodeFacts } from "@bpfleet/kernel";
import { nodeFacts } from "@bpfleet/kernel/testing";

export const policyObject = readFileSync(new URL("../build/bpf/policy.bpf.o", import.meta.url));

export interface BenchPod {
  readonly interface: string;
  readonly ifindex: number;
}

export function policyFacts(pods: readonly BenchPod[]): NodeFacts {
  return nodeFacts({
    objects: { policy: { digest: createHash("sha256").update(policyObject).digest("hex") } },
    endpoints: Object.fromEntries(
      pods.map((pod) => [pod.interface, { found: true, ...pod, addresses: [], mac: "02:00:00:00:00:01" }]),
    ),
  });
}

/** `10.0.0.0` and so many more. */
export function addressAt(at: number): string {
  return `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`;
}

export function podsOfNode(pods: readonly BenchPod[]): readonly WorkloadIntent[] {
  return pods.map(({ interface: name }, at) => {
    const pod = { group: "", kind: "Pod", namespace: "bench", name };
    return {
      feature: "policy",
      about: "workload",
      isFact: true,
      origin: { object: pod, path: "" },
      pod,
      labels: { app: name },
      namespaceLabels: {},
      serviceAccount: "default",
      namedPorts: [],
      addresses: [addressAt(at + 1)],
      isHostNetwork: false,
      endpoint: name,
    };
  });
}

/** Pods of other nodes, twenty with the same labels. */
export function podsElsewhere(count: number): readonly AddressesIntent[] {
  return Array.from({ length: Math.ceil(count / 20) }, (_, group) => ({
    feature: "policy",
    about: "addresses",
    isFact: true,
    origin: { object: { group: "bpfleet.io", kind: "AddressSlice", namespace: "", name: `slice-${group}` }, path: "" },
    namespace: "elsewhere",
    labels: { app: `app-${group}`, tier: `tier-${group % 5}` },
    namespaceLabels: { team: `team-${group % 30}` },
    serviceAccount: "default",
    namedPorts: [],
    addresses: Array.from({ length: 20 }, (__, at) => addressAt(65_536 + group * 20 + at)),
    version: "1",
  }));
}

/** Lets so many peers reach one pod at a port of their own: pods by their labels, and prefixes, in turn. */
export function policyOfPod(pod: string, firstRule: number, ruleCount: number): PolicyIntent {
  const object = { group: "networking.k8s.io", kind: "NetworkPolicy", namespace: "bench", name: `to-${pod}` };
  const at = (path: string): Origin => ({ object, path, position: { file: "policies.yaml", line: 1, column: 1 } });
  const where = [{ on: "pod", key: "app", operator: "In", values: [pod] }] as const;
  const allow = Array.from({ length: ruleCount }, (_, index): PolicyRule => {
    const number = firstRule + index;
    const origin = at(`/spec/ingress/${index}`);
    const bytes = Uint8Array.of(100 + (number >> 16), (number >> 8) & 255, number & 255, 0);
    const port = 1024 + (number % 60_000);
    return {
      origin,
      description: undefined,
      peers: [
        number % 2 === 0
          ? {
              origin,
              peer: "pods",
              where: [{ on: "pod", key: "app", operator: "In", values: [`app-${number % 500}`] }],
            }
          : { origin, peer: "addresses", prefix: { family: 4, bytes, length: 24 }, except: [], matches: "everything" },
      ],
      ports: [{ origin, match: "ports", protocol: "TCP", from: port, to: port, dns: undefined }],
      bandwidth: undefined,
      unserved: [],
    };
  });
  const nothing = { isDefaultDeny: false, allow: [], deny: [] };
  return {
    feature: "policy",
    about: "policy",
    origin: at(""),
    tier: "policy",
    policy: {
      ref: object,
      mode: "enforce",
      onRevoke: "cut",
      statements: [
        {
          origin: at("/spec"),
          subject: { selects: "pods", where, origin: at("/spec/podSelector") },
          ingress: { isDefaultDeny: true, allow, deny: [] },
          egress: nothing,
          options: {},
        },
      ],
    },
  };
}
