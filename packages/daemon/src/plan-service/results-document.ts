import type { ItemResult } from "@bpfleet/kernel";
import type { HeldDocument, OutgoingItem } from "@bpfleet/wire";
import type { DaemonResults, Healed } from "../daemon.ts";
import { outgoing, uniqueKeys, valuesOf } from "./protocol.ts";

export function* resultsItems({ items, healed, ...state }: DaemonResults): Generator<OutgoingItem> {
  yield outgoing("state", "state", state);
  for (const each of items) yield outgoing("items", `${each.item} ${each.key}`, each);
  const unique = uniqueKeys();
  for (const each of healed) yield outgoing("healed", unique(`${each.at} ${each.item} ${each.key}`), each);
}

export function resultsOf(document: HeldDocument<unknown>): DaemonResults {
  const [state] = valuesOf(document, "state") as readonly Omit<DaemonResults, "items" | "healed">[];
  const unknown = { revision: 0, isComplete: false, isSettled: false, isPaused: false, applyMs: undefined };
  return {
    ...unknown,
    trouble: undefined,
    ...state,
    items: valuesOf(document, "items") as readonly ItemResult[],
    healed: valuesOf(document, "healed") as readonly Healed[],
  };
}
