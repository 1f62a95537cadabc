import { applyActions, diffPlan, emptyJournal, observePlan, type NodePlan } from "@bpfleet/kernel";
import type { NodeKernel } from "@bpfleet/native";

/** Observe, plan, apply: the whole way, as the daemon goes it. */
export async function realise(kernel: NodeKernel, plan: NodePlan): Promise<void> {
  const observed = await observePlan(kernel, plan);
  const { results } = await applyActions(diffPlan(plan, observed, emptyJournal), kernel, { plan, observed });
  const failed = results.find(({ state }) => state !== "in-force");
  if (failed) throw new Error(`benchmark: ${failed.item} ${failed.key} is ${failed.state}: ${failed.error?.message}`);
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
