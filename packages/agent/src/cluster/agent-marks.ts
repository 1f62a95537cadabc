import { fingerprint } from "@bpfleet/base";

/** Of server-side apply. */
export const fieldManager = "bpfleet-agent";
/** On objects that an agent made: of which node it is. */
export const nodeLabel = "bpfleet.io/node";
/** On them, while what they stand for may be in the kernel. */
export const programFinalizer = "bpfd.io.agent/finalizer";

const longestLabel = 63;

/** A node's name may be longer than a label's value. */
export function nodeLabelValue(nodeName: string): string {
  return nodeName.length <= longestLabel ? nodeName : `${nodeName.slice(0, 48)}-${fingerprint(nodeName)}`;
}
