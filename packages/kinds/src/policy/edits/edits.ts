import type { KubeObject } from "../../kind.ts";
import { ciliumEdits } from "./cilium-edits.ts";
import { ciliumDenialEdits } from "./cilium-denial-edits.ts";
import { containerPolicyEdits } from "./container-policy-edits.ts";
import { takeOut, type DeniedWish, type EditWish, type PolicyEdit } from "./edit.ts";
import { firewallEdits } from "./firewall-edits.ts";
import { networkPolicyEdits } from "./network-policy-edits.ts";
import { orderedDenialEdits } from "./ordered-denial-edits.ts";

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

/**
 * Changes of a policy that may keep its rule at `at` from denying what is wished, those that keep most of it first;
 * whether they do is for the compiler to say.
 */
export function denialEdits(object: KubeObject, at: string, wish: DeniedWish): readonly PolicyEdit[] {
  if (object.kind === "CiliumNetworkPolicy" || object.kind === "CiliumClusterwideNetworkPolicy")
    return ciliumDenialEdits(object, at, wish);
  if (object.kind === "EBPFContainerPolicy" || object.kind === "EBPFNetworkPolicy")
    return orderedDenialEdits(object, at, wish);
  if (object.kind === "PodConfigMapConfig") return [takeOut(object, at)];
  return [];
}
