import type { ObjectRef } from "@bpfleet/base";

/** `MapSpec.key` of an EBPFMap's map, which programs refer to. */
export function mapKey(ref: ObjectRef): string {
  return `maps/${ref.namespace}/${ref.name}`;
}
