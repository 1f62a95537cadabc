import { readCiliumPolicy } from "../cilium.io/rule/read-rule.ts";
import type { KubeObject, Parsed } from "../kind.ts";
import { readNetworkPolicy } from "../networking.k8s.io/networkpolicy/read-network-policy.ts";
import type { Policy } from "@bpfleet/features";

type Reader = (parsed: Parsed) => Policy;

const readers: Readonly<Record<string, Reader>> = {
  "cilium.io/CiliumNetworkPolicy": readCiliumPolicy as Reader,
  "cilium.io/CiliumClusterwideNetworkPolicy": readCiliumPolicy as Reader,
  "networking.k8s.io/NetworkPolicy": readNetworkPolicy as Reader,
};

/** The policy that an object of the first tier is; `undefined` for objects of other kinds. */
export function findPolicy(parsed: Parsed<KubeObject>): Policy | undefined {
  return readers[`${parsed.ref.group}/${parsed.ref.kind}`]?.(parsed);
}
