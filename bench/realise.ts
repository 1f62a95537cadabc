import {
  applyActions,
  diffPlan,
  emptyJournal,
  identityKey,
  observePlan,
  type KnownHooks,
  type NodePlan,
} from "@bpfleet/kernel";
import type { NodeKernel } from "@bpfleet/native";

/** Observe, plan, apply: the whole way, as the daemon goes it. */
export async function realise(kernel: NodeKernel, plan: NodePlan, known?: KnownHooks): Promise<KnownHooks> {
  const observed = await observePlan(kernel, plan, known);
  const actions = diffPlan(plan, observed, emptyJournal);
  const { results } = await applyActions(actions, kernel, { plan, observed });
  const failed = results.find(({ state }) => state !== "in-force");
  if (failed) throw new Error(`benchmark: ${failed.item} ${failed.key} is ${failed.state}: ${failed.error?.message}`);
  const touched = actions.flatMap((action) =>
    action.do === "set-hook" ? [identityKey(action.spec.key)] : action.do === "clear-hook" ? [action.key] : [],
  );
  return { hooks: observed.hooks, again: new Set(touched) };
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
