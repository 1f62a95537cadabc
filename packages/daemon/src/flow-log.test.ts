import assert from "node:assert/strict";
import { test } from "node:test";
import v8 from "node:v8";
import vm from "node:vm";
import { nodeInstanceKey, type PolicyData } from "@bpfleet/features";
import { emptyPlan, type FeatureInstance, type NodePlan } from "@bpfleet/kernel";
import { FlowLog } from "./flow-log.ts";
import { instance } from "./testing/test-plans.ts";

v8.setFlagsFromString("--expose-gc");
const collect = vm.runInNewContext("gc") as () => void;

test("FlowLog holds earlier tables of which a rule logs, and no others", async () => {
  const data: PolicyData = { about: "node", endpoints: [] };
  const nodeInstance = (more: Partial<PolicyData>): FeatureInstance => ({
    ...instance(nodeInstanceKey, 0),
    data: { ...data, ...more },
  });
  let plan: NodePlan = emptyPlan;
  const clock = { now: () => 0, monotonicMs: () => 0 };
  const log = new FlowLog({ plan: () => plan, facts: () => undefined, clock });
  const wanted: boolean[] = [];
  const showOnce = (more: Partial<PolicyData>): WeakRef<FeatureInstance> => {
    const shown = nodeInstance(more);
    plan = { ...emptyPlan, instances: [shown] };
    wanted.push(log.isWanted());
    plan = emptyPlan;
    return new WeakRef(shown);
  };
  const shown = [showOnce({}), showOnce({ logs: true })];
  assert.deepEqual(wanted, [false, true]);
  // A WeakRef holds what it is of until the present job has ended.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  assert.deepEqual(
    shown.map((each) => each.deref() !== undefined),
    [false, true],
  );
  assert.equal(log.isWanted(), false);
});
