import { refKey, renderRef, type ObjectRef } from "@bpfleet/base";
import { renderPath, type PolicyEdit } from "@bpfleet/kinds";
import type { AcceptedObject } from "../compile.ts";
import type { EditTable } from "./edit-table.ts";

/** An edit with what holds after it, and after those before it. */
export interface TriedEdit {
  readonly edit: PolicyEdit;
  readonly accepted: AcceptedObject;
  readonly objects: readonly AcceptedObject[];
  readonly table: EditTable;
  readonly passes: boolean;
  /** What passes besides; asked when it is first wanted. */
  also(): readonly string[];
  /** The rule that denied it until then. */
  readonly denial: Denial | undefined;
}

/** Something long, step by step: whoever does it has other things to do between them. */
export type Search<T> = Generator<undefined, T, undefined>;

/** Where a rule is that denies, before any edit. */
export interface Denial {
  readonly object: ObjectRef;
  readonly path: string;
}

export function renderDenial({ object, path }: Denial): string {
  return `${renderRef(object)} ${renderPath(path)}`;
}

/** Where a place of an object was before it was edited. */
export function placeBefore(path: string, object: ObjectRef, edits: readonly TriedEdit[]): string {
  return edits
    .filter(({ edit, accepted }) => edit.does !== "add" && refKey(accepted.parsed.ref) === refKey(object))
    .reduceRight((place, { edit: { does, patch } }) => {
      const at = patch.path.lastIndexOf("/") + 1;
      const [changed, [index = "", ...rest]] = [Number(patch.path.slice(at)), place.slice(at).split("/")];
      if (!place.startsWith(patch.path.slice(0, at)) || Number.isNaN(changed) || !(Number(index) >= changed))
        return place;
      const moved = does === "take-out" ? Number(index) + 1 : Math.max(changed, Number(index) - 1);
      return [`${place.slice(0, at)}${moved}`, ...rest].join("/");
    }, path);
}
