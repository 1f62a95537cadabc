import type { Origin } from "@bpfleet/base";
import type { MapDefinition, MapEntries } from "@bpfleet/kernel";
import type { Intent } from "../feature.ts";

/** A map of its own, with contents that are kept. */
export interface MapIntent extends Intent {
  readonly feature: "maps";
  readonly definition: MapDefinition;
  readonly entries: MapEntries;
  /** Remove entries that others added. */
  readonly prune: boolean;
  readonly pinPath?: string | undefined;
  /** Of the pin path; the object's own when not given. */
  readonly pinOrigin?: Origin | undefined;
  /** Field path of each entry, for errors: parallel to `entries`. */
  readonly entryPaths: readonly string[];
}
