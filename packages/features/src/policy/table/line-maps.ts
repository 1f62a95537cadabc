import type { ObjectRef } from "@bpfleet/base";
import { mapFlags, type MapDefinition, type MapSpec } from "@bpfleet/kernel";
import { policyLayout } from "../generated/policy.ts";
import type { WrittenTable } from "./write-table.ts";

/** What a map that refers to lines is made with; those that are put there may have any number of them. */
export const linesInner: MapDefinition = {
  type: "array",
  keySize: 4,
  valueSize: policyLayout.line_bytes,
  maxEntries: 1,
  flags: mapFlags.innerMap | mapFlags.mmapable,
};

/** Sealed lines; `layout` and `serial` tell them from others. */
export function planLines(
  { key, name }: Pick<MapSpec, "key" | "name">,
  { lines, lineCount }: WrittenTable,
  { layout, serial, owner }: { readonly layout: string; readonly serial: bigint; readonly owner: ObjectRef },
): MapSpec {
  const keys = new Uint32Array(lineCount);
  for (let at = 0; at < lineCount; at++) keys[at] = at;
  return {
    key,
    name,
    definition: { ...linesInner, maxEntries: lineCount },
    contents: {
      kind: "sealed",
      digest: `${layout}-${serial.toString(16)}`,
      entries: { count: lineCount, keys: new Uint8Array(keys.buffer), values: lines },
    },
    owner,
  };
}
