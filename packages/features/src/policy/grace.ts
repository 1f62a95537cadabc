import type { MapEntries } from "@bpfleet/kernel";
import { policyMapKeys } from "./policy-maps.ts";

export const gracesKey = policyMapKeys.graces;

/** So far ahead of each clock that none is within a grace of it. */
const graceIsOver = 1n << 63n;

/**
 * What is put into that map for an endpoint whose connections are all younger than its policy: then each packet of it
 * is judged as if its grace were over. `bpf/include/policy-opening.h` begins one where there is no entry.
 */
export function withoutGrace(ifindex: number): MapEntries {
  const values = BigUint64Array.of(graceIsOver);
  return {
    count: 1,
    keys: new Uint8Array(Uint32Array.of(ifindex).buffer),
    values: new Uint8Array(values.buffer),
  };
}
