import { isDeepStrictEqual } from "node:util";
import { planGenerations, type Action, type ActionOutcome, type ItemResult, type NodePlan } from "@bpfleet/kernel";
import type { Healed } from "../daemon.ts";

/** `map key`, to look an item up by. */
function itemName(item: Pick<ItemResult, "item" | "key">): string {
  return `${item.item} ${item.key}`;
}

/** Items that were in force, with what was wanted of them. */
export type InForce = ReadonlyMap<string, unknown>;

/** What the last pass left undone, such as a hook without a program that cannot be loaded, is done later: nobody meddled. */
export function itemsInForce(
  items: readonly ItemResult[],
  wishes: InForce,
  outcomes: readonly ActionOutcome[],
): InForce {
  const undone = new Set(
    outcomes.flatMap(({ action, state, without }) => {
      const about = state === "done" && without === undefined ? undefined : describe(action);
      return about === undefined ? [] : [itemName(about)];
    }),
  );
  const names = items
    .filter((item) => item.state === "in-force")
    .map(itemName)
    .filter((name) => !undone.has(name));
  return new Map(names.map((name) => [name, wishes.get(name)]));
}

/** What a plan wants of each of its items; equal values, equal wish. */
export function wishesOf(plan: NodePlan): InForce {
  const { maps, programs, hooks } = planGenerations(plan);
  const wishes = new Map<string, unknown>();
  for (const { key, contents, pinPath } of plan.maps) {
    const references = contents.kind === "refers" ? contents.entries.map(({ slot, map }) => [slot, maps.get(map)]) : [];
    wishes.set(`map ${key}`, [maps.get(key), pinPath, contents.kind === "kept" ? contents : undefined, references]);
  }
  for (const [key, identity] of programs) wishes.set(`program ${key}`, identity);
  for (const [key, hook] of hooks) wishes.set(`hook ${key}`, hook.generation);
  return wishes;
}

/** What others changed: an action on something that was in force, though nothing else was wanted of it. */
export function healedBy(outcome: ActionOutcome, before: InForce, wishes: InForce, at: number): Healed | undefined {
  if (outcome.state !== "done" || outcome.without !== undefined) return undefined;
  const found = describe(outcome.action);
  if (found === undefined) return undefined;
  const name = itemName(found);
  return before.has(name) && isDeepStrictEqual(before.get(name), wishes.get(name)) ? { at, ...found } : undefined;
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
    case "put-reference":
      return { item: "map", key: action.spec.key, what: `others changed its slot ${action.slot}: it is put back` };
    case "drop-reference":
      return {
        item: "map",
        key: action.spec.key,
        what: `others put something into its slot ${action.slot}: it is gone`,
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
