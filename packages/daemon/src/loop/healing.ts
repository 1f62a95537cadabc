import type { Action, ActionOutcome, ItemResult } from "@bpfleet/kernel";
import type { Healed } from "../daemon.ts";

/** `map key`, to look an item up by. */
export function itemName(item: Pick<ItemResult, "item" | "key">): string {
  return `${item.item} ${item.key}`;
}

/**
 * What others changed: an action on something that was in force, though nobody asked for another plan.
 */
export function healedBy(outcome: ActionOutcome, inForce: ReadonlySet<string>, at: number): Healed | undefined {
  if (outcome.state !== "done") return undefined;
  const found = describe(outcome.action);
  return found !== undefined && inForce.has(itemName(found)) ? { at, ...found } : undefined;
}

function describe(action: Action): Omit<Healed, "at"> | undefined {
  switch (action.do) {
    case "create-map":
      return {
        item: "map",
        key: action.spec.key,
        what: "its pin was removed: it is made again, empty but for its declared contents",
      };
    case "write-map":
      return {
        item: "map",
        key: action.spec.key,
        what: `others changed its entries: ${action.puts.count} put back, ${action.deletes.count} deleted`,
      };
    case "pin-map":
      return { item: "map", key: action.spec.key, what: `its pin ${action.pinPath} was removed or led elsewhere` };
    case "load-program":
      return {
        item: "program",
        key: action.spec.key,
        what: action.replaces ? "a map under it was made again" : "its pin was removed",
      };
    case "set-hook":
      return { item: "hook", key: action.spec.key, what: hookReasons[action.why] };
    default:
      return undefined;
  }
}

const hookReasons = {
  new: "its link was removed",
  changed: "its program was another one or lay over other maps",
  detached: "its link was detached, or its interface or cgroup went away and came back",
} as const;
