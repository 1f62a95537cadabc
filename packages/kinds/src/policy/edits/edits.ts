import type { KubeObject } from "../../kind.ts";
import { ciliumEdits } from "./cilium-edits.ts";
import { containerPolicyEdits } from "./container-policy-edits.ts";
import type { EditWish, PolicyEdit } from "./edit.ts";
import { firewallEdits } from "./firewall-edits.ts";
import { networkPolicyEdits } from "./network-policy-edits.ts";

/**
 * Additions to a policy that may let through what is wished, the smallest ones first; whether they do is for the
 * compiler to say. `at` is the place of the statement that isolates. None for an EBPFNetworkPolicy, in which
 * nothing is closed but by a rule.
 */
export function policyEdits(object: KubeObject, at: string, wish: EditWish): readonly PolicyEdit[] {
  if (object.kind === "NetworkPolicy") return networkPolicyEdits(object, wish);
  if (object.kind === "CiliumNetworkPolicy" || object.kind === "CiliumClusterwideNetworkPolicy")
    return ciliumEdits(object, at, wish);
  if (object.kind === "EBPFContainerPolicy") return containerPolicyEdits(object, wish);
  if (object.kind === "PodConfigMapConfig") return firewallEdits(object, wish);
  return [];
}
