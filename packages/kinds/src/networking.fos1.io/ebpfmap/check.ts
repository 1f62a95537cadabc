import type { IssueList } from "../../schema/admit.ts";
import { mapDefinition } from "./definition.ts";
import { encodeEntries } from "./entries.ts";
import type { EBPFMap } from "./schema.ts";

/** What needs the sizes of the map to be known, and what the kernel rounds. */
export function checkMap({ spec }: EBPFMap, found: IssueList): void {
  if (!["type", "maxEntries", "keySize", "valueSize"].every((field) => found.isSound(`/spec/${field}`))) return;
  const definition = mapDefinition(spec);
  if (definition.maxEntries !== spec.maxEntries) {
    found.warning(
      "/spec/maxEntries",
      "rounded",
      `the kernel takes ring buffers of a power of two of at least 4096 bytes only; ${spec.maxEntries} becomes ${definition.maxEntries}`,
    );
  }
  encodeEntries(spec, definition, found);
}
