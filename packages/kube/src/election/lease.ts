import type { ApiObject } from "../api-object.ts";
import type { ResourceType } from "../resource.ts";
import { renderMicroTime } from "../values/micro-time.ts";
import type { ElectionConfig } from "./election-config.ts";

export const leases: ResourceType = { group: "coordination.k8s.io", version: "v1", plural: "leases" };

export interface Lease extends ApiObject {
  readonly spec?: LeaseSpec | undefined;
}

export interface LeaseSpec {
  readonly holderIdentity?: string | undefined;
  readonly leaseDurationSeconds?: number | undefined;
  readonly acquireTime?: string | undefined;
  readonly renewTime?: string | undefined;
  readonly leaseTransitions?: number | undefined;
}

/** The lease with us as its holder; other fields stay as they are. */
export function heldLease(config: ElectionConfig, before: Lease | undefined, wallMs: number): Lease {
  const time = renderMicroTime(wallMs);
  const old = before?.spec;
  const isOurs = old?.holderIdentity === config.identity;
  const transitions = old?.leaseTransitions ?? 0;
  const spec: LeaseSpec = {
    ...old,
    holderIdentity: config.identity,
    // Rounded up: others must wait at least as long as we rely on.
    leaseDurationSeconds: Math.ceil(config.leaseDurationMs / 1000),
    acquireTime: isOurs ? (old.acquireTime ?? time) : time,
    renewTime: time,
    leaseTransitions: isOurs || before === undefined ? transitions : transitions + 1,
  };
  return { ...(before ?? emptyLease(config)), spec };
}

/** The lease without a holder: whoever sees it may take it at once. */
export function releasedLease(before: Lease, wallMs: number): Lease {
  const time = renderMicroTime(wallMs);
  return {
    ...before,
    spec: { ...before.spec, holderIdentity: "", leaseDurationSeconds: 1, acquireTime: time, renewTime: time },
  };
}

function emptyLease({ name, namespace }: ElectionConfig): Lease {
  return { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name, namespace } };
}
