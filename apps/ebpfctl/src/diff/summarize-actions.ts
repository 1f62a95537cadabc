import { renderAction, type Action } from "@bpfleet/kernel";

export interface Change {
  readonly change: "add" | "replace" | "remove";
  readonly item: "map" | "program" | "hook";
  readonly key: string;
  /** What the key does not say. */
  readonly detail?: string | undefined;
}

/** Many steps as a few changes: a map that comes in a new generation and goes in the old one is replaced. */
export function summarizeActions(actions: readonly Action[]): readonly Change[] {
  const changes = new Map<string, Change>();
  const note = (item: Change["item"], key: string, change: Change["change"], detail?: string) => {
    const id = `${item} ${key}`;
    const earlier = changes.get(id);
    const isBoth = earlier !== undefined && earlier.change !== change;
    changes.set(id, {
      change: isBoth ? "replace" : change,
      item,
      key,
      detail: [earlier?.detail, detail].filter((text) => text !== undefined).join("; ") || undefined,
    });
  };
  for (const action of actions) {
    switch (action.do) {
      case "create-map":
        note("map", action.spec.key, "add");
        break;
      case "write-map":
        note("map", action.spec.key, "replace", `put ${action.puts.count}, delete ${action.deletes.count} entries`);
        break;
      case "put-reference":
        note(
          "map",
          action.spec.key,
          changes.get(`map ${action.spec.key}`)?.change ?? "replace",
          `${action.map.key} put into [${action.slot}]`,
        );
        break;
      case "drop-reference":
        note("map", action.spec.key, "replace", `[${action.slot}] emptied`);
        break;
      case "pin-map":
        note(
          "map",
          action.spec.key,
          changes.get(`map ${action.spec.key}`)?.change ?? "replace",
          `pinned at ${action.pinPath}`,
        );
        break;
      case "unpin-map":
        note("map", action.identity.key, "replace", `no longer pinned at ${action.pinPath}`);
        break;
      case "load-program":
        note("program", action.spec.key, action.replaces ? "replace" : "add");
        break;
      case "set-hook":
        note("hook", action.spec.key, action.why === "new" ? "add" : "replace", membersOf(action.members));
        break;
      case "clear-hook":
        note("hook", action.key, "remove");
        break;
      case "remove-program":
        note("program", action.identity.key, "remove");
        break;
      case "remove-map":
        note("map", action.identity.key, "remove");
        break;
      case "carry-counters":
      case "inline-hook":
        break;
      default:
        throw new TypeError(`an action that diff does not know: ${renderAction(action satisfies never)}`);
    }
  }
  return [...changes.values()].toSorted((a, b) => order(a) - order(b) || (a.key < b.key ? -1 : 1));
}

function membersOf(members: readonly { readonly spec: { readonly key: string } }[]): string {
  return members.map(({ spec }) => spec.key).join(", then ");
}

function order({ item }: Change): number {
  return ["hook", "program", "map"].indexOf(item);
}
