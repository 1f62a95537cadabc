import { isRemoval, type ActionOutcome, type ItemResult, type NodePlan } from "@bpfleet/kernel";

/** What should be gone and is not, with what keeps it. */
export function leftoversOf(plan: NodePlan, outcomes: readonly ActionOutcome[]): readonly ItemResult[] | undefined {
  return unwanted(
    plan,
    outcomes.flatMap(({ action, state, error }): ItemResult[] => {
      const found = state === "done" || !isRemoval(action) ? undefined : namedBy(action);
      return found === undefined || state === "done" ? [] : [{ ...found, state, error }];
    }),
  );
}

/** Of items that were there when somebody could still look: those that this plan does not name. */
export function unwanted(plan: NodePlan, items: readonly ItemResult[]): readonly ItemResult[] | undefined {
  const wanted = new Set([
    ...plan.maps.map(({ key }) => `map ${key}`),
    ...plan.programs.map(({ key }) => `program ${key}`),
    ...plan.hooks.map(({ key }) => `hook ${key}`),
  ]);
  const left = items.filter(({ item, key }) => !wanted.has(`${item} ${key}`));
  return left.length === 0 ? undefined : left;
}

function namedBy(action: ActionOutcome["action"]): Pick<ItemResult, "item" | "key"> | undefined {
  switch (action.do) {
    case "clear-hook":
      return { item: "hook", key: action.key };
    case "remove-program":
      return { item: "program", key: action.identity.key };
    case "remove-map":
      return { item: "map", key: action.identity.key };
    default:
      return undefined;
  }
}

/** Those of the plan, while nothing of ours is to be attached. */
export function pausedHooks(plan: NodePlan): ItemResult[] {
  return plan.hooks.map(({ key }) => ({
    item: "hook",
    key,
    state: "withheld",
    error: { code: "stale", message: `attach ${key}: paused; \`ebpfctl resume\` attaches it again` },
  }));
}
