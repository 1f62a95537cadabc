export { nameLabelValue, nodeLabel } from "@bpfleet/kinds";

/** Of server-side apply. */
export const fieldManager = "bpfleet-agent";
/** On objects that an agent made, while what they stand for may be in the kernel. */
export const programFinalizer = "bpfd.io.agent/finalizer";
