import type { Entry } from "./entry-codec.ts";
import { renderJson } from "./json.ts";

export type MapChange =
  | { readonly change: "added"; readonly entry: Entry }
  | { readonly change: "changed"; readonly entry: Entry; readonly before: Entry }
  | { readonly change: "removed"; readonly entry: Entry };

/** What made the one listing the other, in the order of the later one; what is gone comes last. */
export function compareEntries(before: readonly Entry[], after: readonly Entry[]): MapChange[] {
  const old = new Map(before.map((entry) => [renderJson(entry.key), entry]));
  const changes = after.flatMap((entry): MapChange[] => {
    const key = renderJson(entry.key);
    const earlier = old.get(key);
    old.delete(key);
    if (earlier === undefined) return [{ change: "added", entry }];
    if (renderJson(earlier.values) === renderJson(entry.values)) return [];
    return [{ change: "changed", entry, before: earlier }];
  });
  return [...changes, ...[...old.values()].map((entry) => ({ change: "removed", entry }) as const)];
}
