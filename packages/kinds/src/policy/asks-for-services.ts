import type { KubeObject } from "../kind.ts";

/** As a field or as a value, in all kinds: `policyTypes: [Egress]`, `egressDeny`. */
const asking = /"(egress|egressdeny|connectionlimits|kube-apiserver)"/i;

/**
 * Whether what an object says about who may talk to whom needs the Services of the cluster: what pods send to those is
 * judged by what is behind them, and who serves the API is known by one.
 */
export function asksForServices({ spec, specs }: KubeObject & { readonly specs?: unknown }): boolean {
  return asking.test(JSON.stringify([spec, specs]));
}
