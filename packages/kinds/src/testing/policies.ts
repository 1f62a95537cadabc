import type { Result } from "@bpfleet/base";
import type { Parsed } from "../kind.ts";
import { findKind } from "../kinds.ts";
import type { Policy, PolicyRule } from "@bpfleet/features";
import { findPolicy } from "../policy/read-policy.ts";

export type Spec = Readonly<Record<string, unknown>>;

export const onWeb: Spec = { endpointSelector: { matchLabels: { app: "web" } } };

export function parsePolicy(spec: Spec, kind = "CiliumNetworkPolicy"): Result<Parsed> {
  const object = { apiVersion: "cilium.io/v2", kind, metadata: { name: "p" }, spec };
  return findKind("cilium.io/v2", kind)?.parse(object) ?? fail(`no kind ${kind}`);
}

/** Selects app=web unless `spec` says otherwise; fails where it is not sound. */
export function policyOf(spec: Spec, kind?: string): Policy {
  const result = parsePolicy({ ...onWeb, ...spec }, kind);
  if (!result.ok) return fail(result.issues.map(({ message }) => message).join("; "));
  return findPolicy(result.value) ?? fail("no policy");
}

/** The rule that one item of a list is. */
export function ruleOf(item: Spec, list = "ingress"): PolicyRule {
  const [statement] = policyOf({ [list]: [item] }).statements;
  const side = list.startsWith("ingress") ? statement?.ingress : statement?.egress;
  return (list.endsWith("Deny") ? side?.deny : side?.allow)?.[0] ?? fail(`no rule in ${list}`);
}

export function ports(...items: readonly Spec[]): Spec {
  return { toPorts: [{ ports: items }] };
}

function fail(why: string): never {
  throw new RangeError(why);
}
