import assert from "node:assert/strict";
import { test } from "node:test";
import { refKey, type ObjectRef } from "@bpfleet/base";
import {
  assemblePlan,
  type FeatureInstance,
  type MapSpec,
  type NodeFacts,
  type NodePlan,
  type PlanPart,
} from "@bpfleet/kernel";
import type { Compiled } from "./compile.ts";
import { LastPlan } from "./last-plan.ts";

const node: ObjectRef = { group: "", kind: "Node", namespace: "", name: "n" };
const facts = { nodeName: "n", earlierPlans: { other: partWith() }, seenMaps: { other: [] } } as unknown as NodeFacts;

function mapOf(key: string, layout?: string): MapSpec {
  const definition = { type: "array", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 } as const;
  const types = layout === undefined ? undefined : { key: "k", value: "v" };
  return { key, name: "m", definition, contents: { kind: "live" }, layout, types };
}

function partWith(more: Partial<PlanPart> = {}): PlanPart {
  return { maps: [], programs: [], attachments: [], instances: [], problems: [], ...more };
}

function partOf(feature: string, owner: ObjectRef, layout: string): PlanPart {
  const program = {
    key: `${feature}/judge`,
    name: "p",
    type: "sched_cls",
    object: { name: feature, digest: "d" },
    entry: "judge",
    globals: {},
    maps: { table: `${feature}/table` },
  } as const;
  const instance = (own: ObjectRef, key: string): FeatureInstance => ({
    feature,
    owner: own,
    key,
    programs: [program.key],
    maps: { hits: `${feature}/hits` },
    rules: [],
    data: {},
  });
  const member = { program: program.key, priority: 1, proceedOn: [] };
  return partWith({
    maps: [mapOf(`${feature}/hits`, layout), mapOf(`${feature}/table`)],
    programs: [program],
    attachments: [{ point: { hook: "tc", interface: "v0", direction: "ingress" }, member }],
    instances: [instance(owner, feature), instance({ ...node, kind: "Other", name: "o" }, `${feature}/o`)],
  });
}

function planWith(layout: string): NodePlan {
  const other: ObjectRef = { group: "g", kind: "Filter", namespace: "default", name: "f" };
  return assemblePlan([partOf("policy", node, layout), partOf("filter", other, layout)]);
}

test("LastPlan adds what features of the node had in the last plan to the facts, and only that", () => {
  const last = new LastPlan();
  assert.equal(last.addTo(facts), facts);
  last.becomes(planWith("1"));
  const { earlierPlans } = last.addTo(facts);
  assert.deepEqual(Object.keys(earlierPlans ?? {}), ["other", refKey(node)]);
  const part = earlierPlans?.[refKey(node)];
  assert.ok(part !== undefined);
  assert.deepEqual(assemblePlan([part]), assemblePlan([partOf("policy", node, "1")]));
  last.becomes(assemblePlan([]));
  assert.equal(last.addTo(facts), facts);
});

test("LastPlan tells what maps were, the last three, newest last", () => {
  const last = new LastPlan();
  const seen = (): unknown => last.addTo(facts).seenMaps?.["policy/hits"]?.map(({ layout }) => layout);
  for (const layout of ["1", "2", "3", "4", "2"]) last.becomes(planWith(layout));
  assert.deepEqual(seen(), ["3", "4", "2"]);
  assert.deepEqual(Object.keys(last.addTo(facts).seenMaps ?? {}), ["other", "policy/hits"]);
});

test("LastPlan asks the daemon where a feature would go on with what nobody remembers, and only then", async () => {
  const inForce = planWith("1");
  let asked = 0;
  const daemon = {
    lastPlan: () => {
      asked++;
      return asked === 1 ? Promise.reject(new Error("it cannot be reached now")) : inForce;
    },
  };
  const compile = ({ earlierPlans }: NodeFacts): Compiled => {
    const earlier = earlierPlans?.[refKey(node)];
    const plan = assemblePlan(earlier === undefined ? [] : [earlier]);
    return { plan, problems: [], wantsEarlier: earlier === undefined };
  };
  const last = new LastPlan();
  await assert.rejects(last.plan(facts, compile, daemon), /cannot be reached now/);
  const { plan, wantsEarlier } = await last.plan(facts, compile, daemon);
  assert.deepEqual([plan, wantsEarlier], [assemblePlan([partOf("policy", node, "1")]), false]);
  last.becomes(assemblePlan([]));
  assert.equal(
    (await last.plan(facts, compile, daemon)).wantsEarlier,
    true,
    "what is remembered is that there is none",
  );
  const content = new LastPlan();
  await content.plan(facts, () => ({ plan: inForce, problems: [], wantsEarlier: false }), daemon);
  assert.equal(asked, 2);
});
