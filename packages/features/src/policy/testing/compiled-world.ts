import type { Origin } from "@bpfleet/base";
import { compilePolicy, type CompiledPolicy, type CompileFacts, type PolicyInput } from "../compile/compile-policy.ts";
import { bytesOfKey, parseAddressKey } from "../compile/address-key.ts";
import { policyLimits, type PolicyLimits } from "../compile/limits.ts";
import type { PolicyIntent } from "../intent.ts";
import type { Policy } from "../policy.ts";
import { judgeTable, type TableAnswer } from "../table/judge-table.ts";
import { writeTable } from "../table/write-table.ts";
import { noOtherTiers, type OtherTiers, type World, type WorldPacket, type WorldPod } from "./world.ts";

/** A world compiled and laid out, as the kernel would have it. */
export interface CompiledWorld {
  readonly compiled: CompiledPolicy;
  readonly lines: Uint8Array;
  judge(packet: WorldPacket): TableAnswer;
}

export function compileWorld(
  policies: readonly Policy[],
  world: World,
  { limits = policyLimits, ...others }: { readonly limits?: PolicyLimits } & Partial<OtherTiers> = {},
): CompiledWorld {
  const compiled = compilePolicy(inputOf(policies, world, others), factsOf(world), () => 1, limits);
  const { lines } = writeTable(compiled.table);
  const ifindexes = ifindexesOf(world);
  return {
    compiled,
    lines,
    judge({ pod, direction, peer, protocol, port }) {
      const key = parseAddressKey(peer);
      if (key === undefined) throw new RangeError(`no address: ${peer}`);
      const number = typeof protocol === "number" ? protocol : protocolNumbers[protocol];
      const ifindex = ifindexes.get(pod) ?? 0;
      return judgeTable(lines, { ifindex, direction, peer: bytesOfKey(key), protocol: number, port });
    },
  };
}

const protocolNumbers = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58 } as const;

function ifindexesOf({ pods }: World): ReadonlyMap<string, number> {
  return new Map(pods.flatMap(({ name, isOnThisNode }, at) => (isOnThisNode ? [[name, at + 10]] : [])));
}

export function inputOf(policies: readonly Policy[], world: World, others: Partial<OtherTiers> = {}): PolicyInput {
  const { fallback, container, l4 } = { ...noOtherTiers, ...others };
  const intentOf = (tier: PolicyIntent["tier"], policy: Policy, priority?: number): PolicyIntent => ({
    feature: "policy",
    about: "policy",
    origin: originOf(policy),
    tier,
    priority,
    policy,
  });
  return {
    policies: [
      ...policies.map((policy) => intentOf("policy", policy)),
      ...fallback.map(({ policy, priority }) => intentOf("fallback", policy, priority)),
      ...container.map(({ policy, priority }) => intentOf("container", policy, priority)),
      ...l4.map((policy) => intentOf("l4", policy)),
    ],
    workloads: world.pods
      .filter(({ isOnThisNode }) => isOnThisNode)
      .map((pod) => ({
        ...inhabitantOf(pod),
        about: "workload",
        pod: originOfPod(pod).object,
        isHostNetwork: false,
        endpoint: pod.name,
      })),
    addresses: world.pods
      .filter(({ isOnThisNode }) => !isOnThisNode)
      .map((pod) => ({ ...inhabitantOf(pod), about: "addresses", namespace: pod.namespace, version: "1" })),
    hosts: world.nodes.map(({ name, labels, addresses, isThisNode }) => ({
      feature: "policy",
      about: "host",
      origin: { object: { group: "", kind: "Node", namespace: "", name }, path: "" },
      name,
      labels,
      addresses,
      isThisNode,
    })),
    services: [],
    settings: { hostAccess: world.localHost },
  };
}

function inhabitantOf(pod: WorldPod) {
  const { labels, namespaceLabels, isNamespaceUnknown, serviceAccount, namedPorts, addresses } = pod;
  const origin = originOfPod(pod);
  return {
    feature: "policy",
    origin,
    labels,
    namespaceLabels,
    isNamespaceUnknown,
    serviceAccount,
    namedPorts,
    addresses,
  } as const;
}

function originOf({ ref }: Policy): Origin {
  return { object: ref, path: "" };
}

function originOfPod({ namespace, name }: WorldPod): Origin {
  return { object: { group: "", kind: "Pod", namespace, name }, path: "" };
}

export function factsOf(world: World): CompileFacts {
  const endpoints = Object.fromEntries(
    [...ifindexesOf(world)].map(([name, ifindex]) => [
      name,
      { found: true, interface: `veth${ifindex}`, ifindex, addresses: [], mac: "02:00:00:00:00:01" } as const,
    ]),
  );
  return { nodeName: "node", interfaces: [], endpoints };
}
